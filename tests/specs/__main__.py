"""`python -m tests.specs DIR`: each half of the specifications for which DIR has files; exit code 1 when one does not hold."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.specs.outcome import Outcome

HALVES = ("tests.specs.uris", "tests.specs.bson")


class Half(Protocol):
    """A module that checks some of the files."""

    def check(self, folder: Path) -> Iterator[Outcome]:
        """What came of each file of ours below `folder`; nothing when there is none."""


@dataclass(slots=True)
class Sum:
    """Of all files."""

    held: int = 0
    failures: list[str] = field(default_factory=list)


def main() -> int:
    """Check everything that is there; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.specs", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the specifications' files are")
    folder: Path = parser.parse_args().folder
    total = Sum()
    n_files = 0
    for name in HALVES:
        if importlib.util.find_spec(name) is None:
            continue
        half: Half = importlib.import_module(name)  # a module is one
        for outcome in half.check(folder):
            n_files += 1
            total.held += outcome.held
            total.failures += outcome.failures
            print(f"{outcome.file}: {outcome.held} hold, {len(outcome.failures)} do not")
            for failure in outcome.failures:
                print(f"    {failure}")
    if not n_files:
        print(f"{folder} holds no file of the driver specifications.", file=sys.stderr)
        return 1
    print(f"{n_files} files: {total.held} hold, {len(total.failures)} do not")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
