"""`rejects`, `verify` and `runs --discard` of a run with rejects, as commands: what they print, and their exit codes."""

from __future__ import annotations

import getpass
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

BAD = 1_200
"""More than one page of them."""


@pytest.fixture
def rejected(front_end: FrontEnd, source: Source) -> FrontEnd:
    """A run of which documents are rejected for two reasons."""
    source.db.people.insert_many([{"_id": number, "name": "a\0" if number < BAD else "a"} for number in range(2_000)])
    source.db.people.insert_one({"_id": "odd", "name": "x", "text": "\x1b[31m\0"})
    assert front_end.do("run", "--headless", "--collection", f"{source.database}.people").code == 4
    return front_end


def test_b11_every_id_is_printed_or_a_line_of_json_and_the_document_when_asked_for(
    rejected: FrontEnd, source: Source
) -> None:
    plain = rejected.do("rejects")
    whole = rejected.do("rejects", "--documents")

    lines = plain.out.splitlines()
    assert lines[0].endswith(f"{BAD + 1:,} rejected documents, kept in mongopg.reject")
    assert {line.strip() for line in lines if line.startswith("  ")} == {str(number) for number in range(BAD)} | {
        '"odd"'
    }
    assert f"{source.database}.people, field name: nul, {BAD:,} documents" in plain.out
    assert '    {"_id": 7, "name": "a\\u0000"}' in whole.out.splitlines()
    assert '    {"_id": "odd", "name": "x", "text": "\\u001b[31m\\u0000"}' in whole.out.splitlines()
    assert "\x1b" not in plain.out + whole.out

    bare = rejected.do("rejects", "--json")
    whole = rejected.do("rejects", "--json", "--documents")

    *documents, report = bare.lines
    assert (len(documents), report["total"]) == (BAD + 1, BAD + 1)
    assert {each["event"] for each in documents} == {"reject"}
    assert {(each["reason"], each["field"]) for each in documents} == {("nul", "name"), ("nul", "text")}
    assert all("document" not in each for each in documents)
    assert [group["count"] for group in report["groups"]] == [BAD, 1]
    found = {str(each["document"]["_id"]): each["document"] for each in whole.lines[:-1]}
    assert found["odd"] == {"_id": "odd", "name": "x", "text": "\x1b[31m\0"}


def test_b8_verify_of_a_run_with_rejects_says_so_and_exits_4(rejected: FrontEnd) -> None:
    counted = rejected.do("verify")
    full = rejected.do("verify", "--level", "full", "--json")
    runs = rejected.do("runs")

    assert (counted.code, full.code) == (4, 4)
    assert counted.out.splitlines()[0].endswith(f": counts match, {BAD + 1:,} rejected")
    assert (full.last["result"], full.last["verification_level"]) == ("verified", "full")
    assert f"completed, verified, {BAD + 1:,} rejected" in runs.out
    assert rejected.do("rejects", "--retry", MONGOPG_MAPPING_NUL="strip").code == 0
    assert rejected.do("verify").code == 0


@pytest.mark.slow
def test_t11_runs_discard_refuses_with_rejects_and_names_what_it_deletes(rejected: FrontEnd, target: Target) -> None:
    run_id = rejected.do("runs", "--json").last["runs"][0]["run_id"]

    refused = rejected.do("runs", "--discard", run_id)
    done = rejected.do("runs", "--discard", run_id, "--force")

    assert (refused.code, done.code) == (2, 0)
    assert f"{BAD + 1:,} rejected documents" in refused.err
    assert "--force" in refused.err
    assert f"Run {run_id} is deleted, with " in done.out
    assert f"{BAD + 1:,} rejected documents" in done.out
    assert "public.people (800 rows)" in done.out
    assert target.value("SELECT count(*) FROM people") == 800
    assert rejected.do("runs", "--force").code == 2


def test_f11_a_report_for_an_audit_from_the_command_line(rejected: FrontEnd, source: Source, tmp_path: Path) -> None:
    source_version = source.client.server_info()["version"]
    plan = rejected.do("report", "--json").last

    printed = rejected.do("report")
    written = rejected.do("report", "-o", str(tmp_path / "report.html"))
    again = rejected.do("report", "-o", str(tmp_path / "report.html"))
    forced = rejected.do("report", "-o", str(tmp_path / "report.html"), "--force")

    assert (printed.code, written.code, again.code, forced.code) == (0, 0, 2, 0)
    assert "exists already" in again.err
    page = (tmp_path / "report.html").read_text()
    found = plan["report"]
    assert found["plan_sha256"] == hashlib.sha256(found["plan"].encode()).hexdigest()
    for text in (printed.out, page):
        for told in (
            found["run"]["run_id"], f"MongoDB {source_version}", "PostgreSQL ", found["plan_sha256"],
            f"counts match, {BAD + 1:,} rejected", "rows/s overall", f"{source.database}.people", getpass.getuser(),
        ):  # fmt: skip
            assert told in text, told
    assert " 0 rows/s overall" not in printed.out
