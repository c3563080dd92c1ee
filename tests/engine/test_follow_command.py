"""`mongopg-tui follow RUN`: a run that is complete is taken up, when it is known what that means."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.front_end import FrontEnd
from tests.engine.test_follow_control import fill, values
from tests.running import POLL_S, WAIT_S

if TYPE_CHECKING:
    from tests.conftest import Source, Target


def written(target: Target) -> None:
    """Others write to the table, and PostgreSQL counts it: a session tells of its writes when it ends."""
    counted = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'things'"
    before = target.value(counted)
    target.execute("UPDATE things SET n = 7 WHERE _id < 3")
    deadline = time.monotonic() + WAIT_S
    while target.value(counted) < before + 3:
        assert time.monotonic() < deadline, "PostgreSQL does not count them"
        time.sleep(POLL_S)


@pytest.mark.slow
def test_a_run_that_is_complete_is_followed_by_a_command(source: Source, target: Target, front_end: FrontEnd) -> None:
    fill(source)
    assert front_end.do("run", "--headless", "--collection", f"{source.database}.things").code == 0
    run_id = target.value("SELECT run_id FROM mongopg.run")
    source.db.things.update_many({"_id": {"$gte": 40}}, {"$set": {"n": 1}})
    written(target)
    target.execute(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE TRIGGER looks AFTER DELETE ON things FOR EACH ROW EXECUTE FUNCTION look();"
        "CREATE TABLE notes (thing integer REFERENCES things)"
    )
    refused = front_end.do("follow", run_id, "--headless")
    assert (refused.code, "writes to tables that may be in use: add --yes" in refused.err) == (2, True)
    assert "public.things: rows written since the run, by PostgreSQL's statistics: 3" in refused.err
    assert "Triggers of public.things fire for every change that is applied: looks." in refused.err
    assert "because of other rows (foreign key notes_thing_fkey of notes)" in refused.err
    assert target.value("SELECT state FROM mongopg.run") == "completed"

    run = front_end.start("follow", run_id[:13], "--yes", "--json")
    run.until_progress(lambda record: record.get("ready") is True and record["state"] == "following")
    run.until(lambda: "problem: Triggers of public.things" in run.err)
    run.until(lambda: values(target) == {number: 7 if number < 3 else int(number >= 40) for number in range(50)})
    assert front_end.do("ctl", "cutover", "--wait").code == 0
    assert run.outcome().last["state"] == "completed"
    shown = front_end.do("report", run_id).out
    assert "10 updated; " in shown
    assert "10 keys applied, all of them compared with the source" in shown
    again = front_end.do("follow", run_id, "--yes", "--json")
    assert (again.code, again.last["error"]["code"]) == (2, "cannot_follow")
    assert "was cut over, and its tables are others' now" in again.err


@pytest.mark.slow
def test_a_run_whose_changes_are_not_known_is_followed_when_it_is_compared(
    source: Source, target: Target, front_end: FrontEnd
) -> None:
    fill(source)
    assert front_end.do("run", "--headless", "--collection", f"{source.database}.things").code == 0
    run_id = target.value("SELECT run_id FROM mongopg.run")
    target.execute(
        "UPDATE mongopg.run SET cannot_follow = 'an earlier version of this program copied it', start_time = NULL"
    )
    written(target)
    refused = front_end.do("follow", run_id, "--yes", "--headless")
    assert refused.code == 2
    assert "an earlier version of this program copied it. Compare everything with the source" in refused.err
    assert f"`mongopg-tui follow {run_id} --resync`" in refused.err
    run = front_end.start("follow", run_id, "--resync", "--yes", "--json")
    run.until_progress(lambda record: record.get("ready") is True and record["state"] == "following")
    run.until(lambda: values(target) == dict.fromkeys(range(50), 0))
    assert front_end.do("ctl", "cancel", "--wait").code == 0
    assert run.outcome().code == 130
