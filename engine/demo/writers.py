"""Writers to the source of a demo that follows it, until they are told to stop: a process (`engine.demo.writing`).

It ends with the process that started it: what holds it is a pipe, as with the keeper of the servers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import engine


class DemoWriters:
    """The process, which can be stopped and started again."""

    def __init__(self, uri: str, database: str, collection: str, rate: int) -> None:
        """Nothing is written yet.

        Args:
            uri: of the source.
            rate: writes a second.
        """
        self._order = json.dumps([uri, database, collection, rate])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Write from now on; nothing to do while that goes on."""
        if self._process is not None:
            return
        root = str(Path(engine.__file__).parent.parent)
        python_path = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH", "")) if path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.demo.writing", self._order],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": python_path},
        )

    def stop(self) -> None:
        """Returns when the last write is done. Blocks, for some hundredths of a second."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._process = None
