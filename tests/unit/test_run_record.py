"""A run's record follows from its events alone, so history and replay show what the live run showed."""

from __future__ import annotations

from engine.protocol import Event, RunState, Verification, read_event
from engine.run.record import RunRecord


def event(kind: str, **facts: object) -> Event:
    return read_event({"kind": kind, "at": 0.0, "facts": facts})


def slice_of(task_id: int, read: int, rejected: int = 0, **facts: object) -> Event:
    return event(
        "slice", task_id=task_id, read=read, written=read - rejected, rejected=rejected, bytes=read * 100, **facts
    )


def planned_record() -> RunRecord:
    record = RunRecord("20261123-1402-k3f9")
    tables = [
        {"task_id": 1, "namespace": "shop.orders", "table": "public.orders", "total": 100},
        {"task_id": 2, "namespace": "shop.users", "table": "public.users", "total": 50},
    ]
    record.apply(event("planned", tables=tables))
    return record


def test_counters_are_sums_of_committed_slices() -> None:
    record = planned_record()
    record.apply(slice_of(1, 60, rejected=2, reasons={"nul": 2}))
    record.apply(slice_of(2, 50))
    record.apply(slice_of(1, 40))
    assert (record.read, record.written, record.rejected, record.total) == (150, 148, 2, 150)
    assert record.n_bytes == 15_000
    assert record.problems[("nul", "shop.orders")].count == 2


def test_the_total_is_never_below_what_was_read() -> None:
    record = planned_record()
    record.apply(slice_of(1, 130))
    assert record.total == 180


def test_a_recount_from_the_ledger_may_set_progress_back() -> None:
    record = planned_record()
    record.apply(slice_of(1, 60))
    tables = [{"task_id": 1, "read": 40, "written": 40, "rejected": 0}]
    record.apply(event("recount", tables=tables, bytes=4_000))
    assert (record.written, record.n_bytes) == (40, 4_000)


def test_what_policies_changed_is_what_the_ledger_says_in_the_end() -> None:
    record = planned_record()
    record.apply(slice_of(1, 60, policies={"nul.strip": 2, "overflow": 1}))
    record.apply(slice_of(1, 10, policies={"nul.strip": 1}))
    record.apply(slice_of(2, 10, policies={"nul.strip": 5}))
    assert record.altered == {"nul.strip": 8, "overflow": 1}
    tables = [
        {"task_id": 1, "read": 60, "written": 60, "rejected": 0, "altered": {"nul.strip": 2, "duplicate_key": 4}},
        {"task_id": 2, "read": 10, "written": 10, "rejected": 0, "altered": {}},
    ]
    record.apply(event("recount", tables=tables, bytes=4_000))
    assert record.altered == {"nul.strip": 2, "duplicate_key": 4}
    assert {key: problem.count for key, problem in record.problems.items()} == {
        ("nul.strip", "shop.orders"): 2, ("duplicate_key", "shop.orders"): 4,
    }  # fmt: skip


def test_the_last_event_sets_state_error_and_exit_code() -> None:
    record = planned_record()
    record.apply(
        event("finished", state="failed", exit_code=2, error={"code": "table_exists", "message": "It exists."})
    )
    assert record.state is RunState.FAILED
    assert record.exit_code == 2
    assert record.error is not None
    assert record.error.code == "table_exists"


def test_an_event_of_a_newer_version_changes_nothing() -> None:
    record = planned_record()
    record.apply(event("telepathy", strength=3))
    assert record == planned_record()


def test_verification_is_a_field_of_its_own() -> None:
    record = planned_record()
    record.apply(event("verification", verification="mismatch"))
    assert record.verification is Verification.MISMATCH
    assert record.state is RunState.IDLE
