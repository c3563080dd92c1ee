"""`verify --level full`, `rejects --retry` and `run --max-rejects` as commands: what they print, and their exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.running import add_users

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd

USERS = 2_000


def test_a_full_verification_says_what_differs(front_end: FrontEnd, source: Source, target: Target) -> None:
    add_users(source, USERS)
    front_end.do("run", "--headless", "--collection", f"{source.database}.users")

    good = front_end.do("verify", "--level", "full")
    target.execute("UPDATE users SET username = 'other', age = NULL WHERE _id = (SELECT min(_id) FROM users)")
    bad = front_end.do("verify", "--level", "full")
    hidden = front_end.do("verify", "--level", "full", "--redact")

    assert (good.code, bad.code, hidden.code) == (0, 4, 4)
    assert "verified (1 of 1 table compared in full)" in good.out.splitlines()[0]
    assert "MISMATCH" not in good.out
    assert "1 different" in bad.out
    differing = {line.split()[4]: line.split()[6] for line in bad.out.splitlines() if " different  {" in line}
    assert differing == {"username": "other", "age": "NULL"}
    assert "other" not in hidden.out
    assert "(hidden)" in hidden.out


@pytest.mark.slow
def test_counts_that_match_with_the_rows_of_a_later_run_verify_nothing(
    front_end: FrontEnd, source: Source, target: Target
) -> None:
    source.db.users.insert_many([{"_id": number} for number in range(20)])
    collection = f"{source.database}.users"
    front_end.do("run", "--headless", "--collection", collection)
    old = target.value("SELECT run_id FROM mongopg.run")
    target.execute("CREATE VIEW seen AS SELECT * FROM users")  # so that the table stays, and gets other rows
    front_end.do("run", "--headless", "--collection", collection, "--mode", "replace")

    of_old, of_new = front_end.do("verify", old), front_end.do("verify")

    assert "counts match, replaced since" in of_old.out
    assert (of_old.code, of_new.code) == (4, 0)


@pytest.mark.slow
def test_a_full_verification_for_scripts(front_end: FrontEnd, source: Source, target: Target) -> None:
    add_users(source, USERS)
    front_end.do("run", "--headless", "--collection", f"{source.database}.users")
    target.execute("DELETE FROM users WHERE _id = (SELECT min(_id) FROM users)")

    outcome = front_end.do("verify", "--level", "full", "--json", "--cluster-size", "1")

    assert outcome.code == 4
    *progress, report = outcome.lines
    assert all(line["event"] == "progress" and line["verification"] == "running" for line in progress)
    assert all(line["checked"] <= line["total"] <= USERS for line in progress)
    assert (report["level"], report["result"]) == ("full", "mismatch")
    [table] = report["tables"]
    assert (table["equal"], table["missing"], table["different"], table["extra"]) == (USERS - 1, 1, 0, 0)
    assert [(each["kind"], each["source_changed"]) for each in report["differences"]] == [("missing", False)]


@pytest.mark.slow
def test_rejects_are_retried_until_none_is_left(front_end: FrontEnd, source: Source, target: Target) -> None:
    source.db.people.insert_many([{"_id": number, "name": "a\0" if number < 3 else "a"} for number in range(100)])
    assert front_end.do("run", "--headless", "--collection", f"{source.database}.people").code == 4

    again = front_end.do("rejects", "--retry")
    stripped = front_end.do("rejects", "--retry", MONGOPG_MAPPING_NUL="strip")
    nothing = front_end.do("rejects", "--retry", "--json")

    assert (again.code, stripped.code, nothing.code) == (4, 0, 0)
    assert "retried 3: 0 written, 3 still rejected" in again.out
    assert "nul" in again.out.splitlines()[-1]
    assert "retried 3: 3 written, 0 still rejected" in stripped.out
    assert (nothing.last["tried"], nothing.last["left"], nothing.last["groups"]) == (0, 0, [])
    assert target.value("SELECT count(*) FROM people") == 100


def test_a_limit_of_rejects_ends_a_run(front_end: FrontEnd, source: Source, target: Target) -> None:
    source.db.people.insert_many([{"_id": number, "name": "a\0" if number < 3 else "a"} for number in range(100)])

    stopped = front_end.do("run", "--json", "--collection", f"{source.database}.people", "--max-rejects", "2")
    wrong = front_end.do("run", "--json", "--collection", f"{source.database}.people", "--max-rejects", "many")

    assert (stopped.code, stopped.last["state"], stopped.last["error"]["code"]) == (1, "failed", "max_rejects")
    assert wrong.code == 2
    assert "--max-rejects must be a number of documents, a share such as \"1%\", or off, not 'many'" in wrong.err
