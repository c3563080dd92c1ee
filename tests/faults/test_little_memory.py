"""Workers that have little memory, and documents that take much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.planting import little_memory
from tests.running import Engines, assert_ledger, assert_same

if TYPE_CHECKING:
    from tests.conftest import Source, Target

SMALL, LARGE = 3_000, 12
LARGE_BYTES = 14 * 1024 * 1024
LITTLE_MIB = 100
"""Enough for the small documents; the large ones take some more."""


@pytest.mark.slow
async def test_documents_too_large_for_a_worker_s_memory_end_the_run_which_is_completed_with_more(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system refuses memory instead of killing for it: others try, then the partition is parked."""
    source.db.mixed.insert_many([{"_id": number, "text": "small"} for number in range(SMALL)])
    for number in range(SMALL, SMALL + LARGE):
        source.db.mixed.insert_one({"_id": number, "text": "x" * LARGE_BYTES})
    settings = engines.settings("mixed", run={"cluster_size": 2})

    with monkeypatch.context() as planted:
        for name, value in little_memory(LITTLE_MIB).items():
            planted.setenv(name, value)
        engine, end = await engines.run(settings)
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 1, "parked")
    assert "A worker ran out of memory (smaller pages take less)" in engine.facts_of("problem")[0]["message"]
    assert 2_000 < end["written"] == target.value("SELECT count(*) FROM mixed") < SMALL + LARGE
    await engine.leave()
    await engine.until_gone()

    _, end = await engines.run(settings, resume="")
    assert (end["state"], end["exit_code"]) == ("completed", 0)
    lengths = {document["_id"]: len(document["text"]) for document in source.db.mixed.find()}
    assert_same(lengths, [tuple(row) for row in target.rows("SELECT _id, length(text) FROM mixed")])
    assert_ledger(target, engine.run_id, rows=SMALL + LARGE)
