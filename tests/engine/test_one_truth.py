"""One truth for every number of a run, the ledger's: lists, recordings, verification, problems and its own engine agree."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from engine import protocol
from engine.errors import UsageError
from engine.protocol import (
    Recording,
    RejectsReport,
    ReplacedTables,
    RetryReport,
    RunInfo,
    RunReport,
    Snapshot,
    Verification,
    VerificationEnded,
    VerifyReport,
)
from tests.engine.test_rejects import BAD, DOCUMENTS, add_people, retried
from tests.running import Engine, Engines, end_kept

if TYPE_CHECKING:
    from tests.conftest import Source, Target

Numbers = tuple[int, int, int]


def numbers(counted: Snapshot | RunInfo) -> Numbers:
    """Read, written, rejected."""
    return counted.read, counted.written, counted.rejected


async def listed(engine: Engine) -> RunInfo:
    """The newest run of the ledger."""
    answer = await engine.client.call(protocol.ListRuns())
    return RunInfo.model_validate(answer["runs"][0])


async def recorded(engine: Engine) -> Snapshot:
    """The end of the newest run, as its events and the ledger tell it."""
    return (await engine.client.ask(Recording, protocol.Replay(max_frames=1))).frames[-1]


async def told(engine: Engine) -> list[Numbers]:
    """What each answer says of the newest run."""
    end = await recorded(engine)
    report = await engine.client.ask(VerifyReport, protocol.Verify())
    sums = (
        sum(table.read for table in report.tables),
        sum(table.written for table in report.tables),
        sum(table.rejected for table in report.tables),
    )
    return [numbers(await listed(engine)), numbers(end), numbers(end.tables[0]), sums]  # type: ignore[arg-type]


def problems(snapshot: Snapshot) -> dict[str, int]:
    """How often each kind of reject is counted among the problems."""
    return {problem.code: problem.count for problem in snapshot.problems if problem.code == "nul"}


async def test_b3_every_answer_says_the_same_after_a_retry(source: Source, target: Target, engines: Engines) -> None:
    add_people(source)
    engine, _ = await engines.run(engines.settings("people"))
    assert await told(engine) == [(DOCUMENTS, DOCUMENTS - BAD, BAD)] * 4
    assert problems(await recorded(engine)) == {"nul": BAD}

    await retried(engines, nul="strip")

    assert await told(engine) == [(DOCUMENTS, DOCUMENTS, 0)] * 4
    end = await recorded(engine)
    assert problems(end) == {}
    assert (end.tables[0].target_count, end.tables[0].altered) == (DOCUMENTS, {"nul.strip": BAD})
    assert numbers(engine.snapshot) == (DOCUMENTS, DOCUMENTS - BAD, BAD), "the run's own engine was not asked yet"
    await engine.client.call(protocol.Recount())
    now = await engine.until(lambda now: now.rejected == 0, "the ledger's numbers")
    assert (numbers(now), problems(now)) == ((DOCUMENTS, DOCUMENTS, 0), {})


async def test_b3_the_engine_of_the_run_follows_its_own_retry(source: Source, engines: Engines) -> None:
    add_people(source)
    engine, _ = await engines.run(engines.settings("people"))

    await engine.client.ask(RetryReport, protocol.RetryRejects(policies={"nul": "strip"}))

    now = await engine.until(lambda now: now.rejected == 0, "the ledger's numbers")
    assert numbers(now) == (DOCUMENTS, DOCUMENTS, 0)


async def test_b3_problems_of_a_resumed_run_are_those_of_all_of_it(source: Source, engines: Engines) -> None:
    add_people(source, 20_000, bad_every=10)
    slow = {"page_size": 500, "throttle": 10_000}
    _, end = await engines.run(engines.settings("people", run={"max_rejects": "5%"} | slow))
    assert end["error"]["code"] == "max_rejects"

    engine, end = await engines.run(engines.settings("people", run={"max_rejects": "3,000"}), resume="")

    assert end["rejected"] == 2_000
    assert problems(engine.snapshot) == {"nul": 2_000}
    assert problems(await recorded(engine)) == {"nul": 2_000}


async def test_b3_a_retry_that_writes_nothing_keeps_the_result_of_a_full_comparison(
    source: Source, engines: Engines
) -> None:
    add_people(source)
    engine, end = await engines.run(engines.settings("people"))
    assert (end["verification"], end["verification_level"]) == ("verified", "counts")
    report = await engine.client.ask(VerifyReport, protocol.Verify(level="full"))
    assert report.verification_level == "full"
    assert (await listed(engine)).verification_level == "full"

    assert (await retried(engines)).written == 0

    assert ((await listed(engine)).verification_level, (await recorded(engine)).verification_level) == ("full", "full")
    assert not (await listed(engine)).verified_before_retry
    await retried(engines, nul="strip")
    run, end_now = await listed(engine), await recorded(engine)
    assert (run.verification_level, end_now.verification_level) == ("counts", "counts")
    assert end_now.verification is Verification.VERIFIED
    assert (run.verified_before_retry, end_now.verified_before_retry) == (True, True), "why it is counts again"
    await engine.client.call(protocol.Recount())
    assert (await engine.until(lambda now: now.rejected == 0, "the ledger's numbers")).verified_before_retry
    for _ in range(2):
        await engine.client.call(protocol.Recount())
    ended = [event for event in engine.events if isinstance(event, VerificationEnded)]
    assert [(each.level, each.before_retry) for each in ended] == [("counts", False), ("full", False), ("counts", True)]
    await engine.client.ask(VerifyReport, protocol.Verify(level="full"))
    assert not (await listed(engine)).verified_before_retry


async def test_b4_a_run_has_two_named_rates_over_all_its_times(
    source: Source, target: Target, engines: Engines
) -> None:
    add_people(source, 12_000)
    first = await engines.launch(engines.settings("people", run={"throttle": 2_000, "page_size": 200}))
    await first.start()
    await first.until_written(2_000)
    await first.cancel()
    before = await first.finished()
    engine, end = await engines.run(engines.settings("people", run={"throttle": 6_000, "page_size": 500}), resume="")
    await end_kept(target, engine)

    run = await listed(engine)
    seconds = before["seconds"] + end["seconds"]
    assert run.seconds == pytest.approx(seconds, abs=0.01)
    assert run.rows_per_s_overall == pytest.approx(end["written"] / seconds, rel=0.01)
    assert end["rows_per_s_overall"] == pytest.approx(run.rows_per_s_overall, rel=0.01)
    copying = (before["copied"] + end["copied"]) / (before["copying_s"] + end["copying_s"])
    assert run.rows_per_s_copying == pytest.approx(copying, rel=0.01)
    shown, told = engine.snapshot, await recorded(engine)
    for each in (shown, told):
        assert each.rows_per_s_overall == pytest.approx(run.rows_per_s_overall, rel=0.01)
        assert each.rows_per_s_mean == pytest.approx(run.rows_per_s_copying, rel=0.01)
    assert end["rows_per_s_copying"] == pytest.approx(run.rows_per_s_copying, rel=0.01)
    assert run.rows_per_s_copying > 0.9 * run.rows_per_s_overall


@pytest.mark.slow
async def test_b4_the_time_of_a_killed_engine_counts(source: Source, target: Target, engines: Engines) -> None:
    add_people(source, 12_000)
    engine = await engines.launch(engines.settings("people", run={"throttle": 2_000, "page_size": 500}))
    await engine.start()
    await engine.until_written(1)
    # Its first sign of life after that comes within two seconds.
    began = target.value("SELECT taken_at FROM mongopg.run")
    while target.value("SELECT heartbeat_at FROM mongopg.run") == began or not (
        target.value("SELECT extract(epoch FROM heartbeat_at - taken_at) > 1 FROM mongopg.run")
    ):
        await asyncio.sleep(0.05)
    engine.kill()

    other = await engines.launch(engines.settings("people"))
    run = await listed(other)
    assert run.seconds > 1
    assert run.rows_per_s_overall == pytest.approx(run.written / run.seconds, rel=0.01)


async def test_b8_a_view_is_compared_by_counts_only_and_the_level_says_so(source: Source, engines: Engines) -> None:
    add_people(source, 100, bad_every=1_000)
    source.db.command("create", "adults", viewOn="people", pipeline=[])
    engine, _ = await engines.run(engines.settings("people", "adults"))

    report = await engine.client.ask(VerifyReport, protocol.Verify(level="full"))

    assert (report.level, report.verification_level) == ("full", "counts")
    assert {table.namespace.rpartition(".")[2]: table.level for table in report.tables} == {
        "people": "full", "adults": "counts",
    }  # fmt: skip
    assert (await listed(engine)).verification_level == "counts"
    kept = (await engine.client.ask(RunReport, protocol.MakeReport())).compared
    assert [each.unix for each in kept] == [report.unix], "it is told with the time that the ledger keeps"


# --- the rejected documents themselves --------------------------------------------------------------------------------


async def pages(engine: Engine, **command: object) -> list[protocol.RejectedPage]:
    """All pages."""
    found: list[protocol.RejectedPage] = []
    after = ""
    while True:
        asked = protocol.ListRejected.model_validate({"after": after} | command)
        page = await engine.client.ask(protocol.RejectedPage, asked)
        if not page.documents:
            return found
        found.append(page)
        after = page.following


async def test_f2_rejected_documents_are_listed_a_page_at_a_time(source: Source, engines: Engines) -> None:
    add_people(source)
    source.db.people.insert_one({"_id": "late", "name": "x", "born": "\x1b[31m"})
    source.db.people.insert_one({"_id": -1, "name": "y\0", "born": {"deep": [1, "\x1b]0;z\x07"]}})
    engine, _ = await engines.run(engines.settings("people"))

    found = [document for page in await pages(engine, limit=7, documents=True) for document in page.documents]

    assert len(found) == BAD + 1
    assert len({document.id for document in found}) == BAD + 1
    assert all(document.reason == "nul" and document.detail for document in found)
    [odd] = [document for document in found if document.id == '{"$numberInt": "-1"}']
    assert odd.document is not None
    assert odd.document.isascii()
    assert odd.document.isprintable()
    assert json.loads(odd.document) == {"_id": -1, "name": "y\0", "born": {"deep": [1, "\x1b]0;z\x07"]}}
    [cut] = (await pages(engine, limit=1_000, documents=True, most_chars=5))[0].documents[:1]
    assert (cut.document, cut.is_cut) == ('{"_id', True)
    bare = (await pages(engine, limit=1_000))[0].documents[0]
    assert bare.document is None
    assert bare.size > 0


async def test_f2_the_rejects_of_one_reason_are_retried_under_a_policy_chosen_for_it(
    source: Source, target: Target, engines: Engines
) -> None:
    add_people(source, 100, bad_every=10)
    source.db.people.insert_many([{"_id": 1_000 + number, "name": "z", "other": "a\0b"} for number in range(5)])
    engine, end = await engines.run(engines.settings("people"))
    assert end["rejected"] == 15
    report = await engine.client.ask(RejectsReport, protocol.ListRejects())
    of_name = next(group for group in report.groups if group.field == "name")
    assert (of_name.policy, of_name.in_force, of_name.takes) == ("nul", "reject", ["strip", "replace"])
    only = protocol.RejectChoice(namespace=of_name.namespace, reason="nul", field="name")
    assert sum(len(page.documents) for page in await pages(engine, only=only, limit=3)) == 10

    done = await engine.client.ask(
        RetryReport, protocol.RetryRejects(only=[only], policies={"nul": "replace"}, keeps_policies=True)
    )

    assert (done.tried, done.written, done.left) == (10, 10, 5)
    assert target.value("SELECT name FROM people WHERE _id = 10") == "n\ufffd10"
    assert (await engine.client.ask(VerifyReport, protocol.Verify(level="full"))).result is Verification.VERIFIED


async def test_f2_a_policy_that_there_is_not_is_refused(source: Source, engines: Engines) -> None:
    add_people(source, 10, bad_every=5)
    engine, _ = await engines.run(engines.settings("people"))
    for policies, message in (
        ({"nil": "strip"}, "There is no policy 'nil'"),
        ({"nul": "clamp"}, "must be one of reject, strip, replace, not 'clamp'"),
    ):
        with pytest.raises(UsageError, match=message):
            await engine.client.ask(RetryReport, protocol.RetryRejects(policies=policies))


# --- deleting ---------------------------------------------------------------------------------------------------------


async def test_t11_a_run_with_rejects_is_only_deleted_when_that_is_said(
    source: Source, target: Target, engines: Engines
) -> None:
    add_people(source)
    engine, _ = await engines.run(engines.settings("people"))

    preview = await engine.client.ask(protocol.DiscardPreview, protocol.DiscardRun(run=engine.run_id, preview=True))

    [table] = preview.tables
    assert (table.table, table.rows, table.is_exact, table.is_own) == ("public.people", DOCUMENTS - BAD, True, True)
    assert preview.rejected == BAD
    assert preview.events > 0
    with pytest.raises(UsageError, match=rf"has {BAD} rejected documents.*--force"):
        await engine.client.call(protocol.DiscardRun(run=engine.run_id))
    assert target.value("SELECT count(*) FROM mongopg.run") == 1
    answer = await engine.client.call(protocol.DiscardRun(run=engine.run_id, force=True))
    assert answer == {"run_id": engine.run_id, "dropped": [], "rejected": BAD, "writes_blocked": False}
    assert target.value("SELECT count(*) FROM mongopg.run") == 0


# --- tables that are not any more what the run wrote --------------------------------------------------------------------


async def replaced_of(engine: Engine, run_id: str) -> ReplacedTables | None:
    """What each answer says of the tables of a run."""
    answer = await engine.client.call(protocol.ListRuns())
    info = next(each for each in map(RunInfo.model_validate, answer["runs"]) if each.run_id == run_id)
    recording = await engine.client.ask(Recording, protocol.Replay(run=run_id, max_frames=1))
    report = await engine.client.ask(RunReport, protocol.MakeReport(run=run_id))
    found = recording.frames[-1].replaced_since
    assert report.run.replaced_since == recording.run.replaced_since == found
    assert info.replaced_since == (found and found.model_copy(update={"tables": {}}))
    return found


async def test_a_run_whose_tables_a_later_one_replaced_is_told_as_such_everywhere(
    source: Source, target: Target, engines: Engines
) -> None:
    for name in ("users", "items"):
        source.db[name].insert_many([{"_id": number} for number in range(20)])
    first, _ = await engines.run(engines.settings("users", "items"))
    old = first.snapshot.run_id
    await first.client.ask(VerifyReport, protocol.Verify(level="full"))
    assert await replaced_of(first, old) is None

    second, _ = await engines.run(engines.settings("users", run={"mode": "replace"}))
    new = second.snapshot.run_id

    assert await replaced_of(second, old) == ReplacedTables(
        of=2, replaced=1, by=[new], n_by=1, tables={"public.users": new}
    )
    assert await replaced_of(second, new) is None
    await first.client.call(protocol.Recount())
    assert (await first.until(lambda now: now.replaced_since is not None, "of its own run")).written == 40
    target.execute("DROP TABLE items")
    found = await replaced_of(second, old)
    assert found is not None
    assert (found.replaced, found.dropped, found.tables["public.items"]) == (1, 1, "")


async def test_to_look_at_a_run_again_makes_no_ledger_where_it_was_dropped(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.users.insert_many([{"_id": number} for number in range(20)])
    engine, _ = await engines.run(engines.settings("users"))
    target.execute("DROP SCHEMA mongopg CASCADE")

    after = await engine.client.ask(protocol.Snapshot, protocol.Recount())

    assert after.written == 20
    assert target.value("SELECT to_regnamespace('mongopg') IS NULL")


async def test_a_run_whose_rows_a_later_one_exchanged_is_told_as_such(
    source: Source, target: Target, engines: Engines
) -> None:
    source.db.users.insert_many([{"_id": number} for number in range(20)])
    first, _ = await engines.run(engines.settings("users"))
    target.execute("CREATE VIEW seen AS SELECT * FROM users")

    second, end = await engines.run(engines.settings("users", run={"mode": "replace"}))
    third, _ = await engines.run(engines.settings("users", run={"mode": "append", "limit": 1}))

    assert end["state"] == "completed"
    new = second.snapshot.run_id
    expected = ReplacedTables(of=1, replaced=1, by=[new], n_by=1, tables={"public.users": new})
    assert await replaced_of(second, first.snapshot.run_id) == expected
    assert await replaced_of(second, new) is None
    assert await replaced_of(second, third.snapshot.run_id) is None
    counted = await second.client.ask(VerifyReport, protocol.Verify(run=first.snapshot.run_id))
    assert counted.replaced_since == expected
