"""`make versions`: the engine's tests against each version, one after the other, and a table of what came of it.

Each PostgreSQL is tried beside the extra's MongoDB and the other way round.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docs.markdown import table
from tests.versions.packages import UnavailableError, version_of
from tests.versions.servers import SERVERS, Server

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "build" / "versions"
PAGE = PROJECT / "docs" / "servers.md"
LIMIT_S = 1_200.0
"""For the tests of one version."""
TESTS = {
    "PostgreSQL": (
        "test_target_copy", "test_target_guards", "test_target_rows", "test_target_ledger", "test_target_tables",
        "test_replace_attachments", "test_ledger_follow", "test_followed_indexes", "test_cut_over",
    ),
    "MongoDB": (
        "test_source_catalogue", "test_source_mongo", "test_source_ranges", "test_source_rawcursor",
        "test_source_inclusive", "test_run_sources", "test_source_changes", "test_follow_control",
    ),
}  # fmt: skip
"""Of tests/engine: those whose statements and commands a server's version could matter to."""
BEGIN, END = "<!-- made by `make versions ARGS=--write` -->", "<!-- end of what `make versions` made -->"
HEADINGS = ["server", "version", "from", "tests passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one version."""

    server: Server
    version: str = ""
    passed: int = 0
    skipped: int = 0
    failed: tuple[str, ...] = ()
    reason: str = ""
    """Why it was not tried."""

    @property
    def row(self) -> list[str]:
        """Of the table."""
        if self.reason:
            return [self.server.system, self.server.series, self.server.package, f"not tried: {self.reason}", "", ""]
        counts = (self.passed, len(self.failed), self.skipped)
        return [self.server.system, self.version, self.server.package, *map(str, counts)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try them; exit code 1 when a test failed."""
    parser = argparse.ArgumentParser(prog="make versions", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="one of: " + ", ".join(_names()))
    parser.add_argument("--tests", default="", metavar="WORDS", help="only tests that pytest's -k finds by these words")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(PROJECT)}")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - set(_names()):
        parser.error(f"no such version: {', '.join(sorted(unknown))}")
    outcomes = [_tried(server, options.tests) for server in SERVERS if not options.only or server.name in options.only]
    text = table(HEADINGS, [outcome.row for outcome in outcomes])
    print(text)
    for outcome in outcomes:
        for name in outcome.failed:
            print(f"FAILED with {outcome.server.name}: {name}")
    if options.write:
        PAGE.write_text(_with_table(PAGE.read_text(), text))
    return int(any(outcome.failed for outcome in outcomes))


def _names() -> Iterator[str]:
    return (server.name for server in SERVERS)


def _with_table(page: str, text: str) -> str:
    """The page with another table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _tried(server: Server, words: str) -> Outcome:
    folder = FOLDER / server.name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        program = server.find(folder)
        version = version_of(program)
    except UnavailableError as unavailable:
        print(f"{server.name}: {unavailable}", flush=True)
        return Outcome(server, reason=str(unavailable))
    print(f"{server.name}: {version}", flush=True)
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    command += [f"tests/engine/{name}.py" for name in TESTS[server.system]] + (["-k", words] if words else [])
    began = time.monotonic()
    with (folder / "output.txt").open("w") as output:
        try:
            subprocess.run(
                command, cwd=PROJECT, env=os.environ | server.environment(program), stdout=output,
                stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Outcome(server, version, failed=(f"all, for they took more than {LIMIT_S:.0f} s",))
    if not report.is_file():
        return Outcome(server, version, failed=(f"all: see {folder / 'output.txt'}",))
    outcome = _read(server, version, report)
    print(f"  {outcome.passed} passed, {len(outcome.failed)} failed in {time.monotonic() - began:.0f} s", flush=True)
    return outcome


def _read(server: Server, version: str, report: Path) -> Outcome:
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    names = {f"{case.get('classname')}.{case.get('name')}" for case in failed}
    passed = len({f"{case.get('classname')}.{case.get('name')}" for case in cases}) - len(names) - len(skipped)
    return Outcome(server, version, passed, len(skipped), tuple(sorted(names)))


if __name__ == "__main__":
    raise SystemExit(main())
