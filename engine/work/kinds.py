"""Which kinds of work there are: what does the leases of a task, by the task's class.

A new kind is a module here with its `Work`, a row in `KINDS`, and a `Job` on the engine's side (`engine.cluster.job`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.work.apply import Applier
from engine.work.census import CensusTaker
from engine.work.context import Work, WorkerContext
from engine.work.copy import Copier
from engine.work.messages import ApplyTask, CensusTask, CopyTask, KeysTask, SeedTask, VerifyTask
from engine.work.seed import Seeder
from engine.work.verify import Verifier

KINDS: dict[type, Callable[[WorkerContext], Work[Any, Any]]] = {
    SeedTask: Seeder,
    CensusTask: CensusTaker,
    CopyTask: Copier,
    ApplyTask: Applier,
    VerifyTask: Verifier,
    KeysTask: Verifier,
}
"""By class of task; what a worker can be told is what is listed."""
