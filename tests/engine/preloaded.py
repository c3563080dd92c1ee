"""`python -m tests.engine.preloaded FOLDER`: what a worker imports although the fork server is preloaded."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LIST_MODULES = "import sys, engine.cluster.fork_server, engine.work.preloaded; print(*sys.modules)"


def child(slots: Any, pipe: Connection) -> None:
    """Given what a worker is given, it makes a converter and sends the names of its modules."""
    from engine.convert import make_converter
    from engine.mapping.model import Column, ColumnType, Mapping, Role

    make_converter(Mapping(columns=(Column(name="_id", type=ColumnType.TEXT, role=Role.ID, path=("_id",)),)))
    pipe.send(set(sys.modules))


def main() -> None:
    """One line a module."""
    from engine.cluster import fork_server
    from engine.work.slots import make_slots

    fork_server.fork_off([Path(sys.argv[1])])
    context = fork_server.CONTEXT
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(make_slots(context), theirs))
    process.start()
    theirs.close()
    preloaded = subprocess.run([sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, check=True)
    print(*(ours.recv() - set(preloaded.stdout.split())), sep="\n")
    process.join()


if __name__ == "__main__":
    main()
