"""Which limits the figures of `make bench` keep: with figures that are made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.bench.limits import limits
from tests.bench.measure import Cost, Ran
from tests.bench.parts import (
    AUTO,
    COLLECTING,
    FLOOR,
    FOLLOWS,
    LOCAL,
    MANY_FLOOR,
    NATURAL,
    NOT_COLLECTING,
    ON_DASK,
    WITH,
    WITHOUT,
    Contest,
    Entry,
    Figures,
    Options,
    own_name,
)  # fmt: skip
from tests.bench.report import record, tables
from tests.bench.shapes import USERS, WIDE

OPTIONS = Options(1_000_000, 3, ("users",), (FLOOR, "ours"), (1, 2, 90), 2, ("native", "plain"))


def ran(seconds: float, **details: Any) -> Figures:
    """One measurement; the whole command takes half a second more."""
    peaks = {"worker": 30.0, "engine": 81.0, "all": 120.0}
    cost = Cost(3.0, peaks if details else {})
    return Figures(Ran(seconds, seconds + 0.5, cost, details), {"mongod": 1.0, "postgres": 2.0})


def contest(part: str = "users", documents: int = 1_000_000, **seconds: list[float]) -> Contest:
    """Contestants by name, the own ones as `native_2`."""
    entries, results = [], {}
    for name, measured in seconds.items():
        converter, _, workers = name.partition("_")
        if not workers:
            entries.append(Entry(name, "public.t", lambda: Ran(0.0, 0.0, Cost(0.0, {}))))
            results[name] = [ran(each) for each in measured]
            continue
        own = own_name(converter, int(workers))
        entries.append(Entry(own, "public.t", lambda: Ran(0.0, 0.0, Cost(0.0, {})), int(workers), converter))
        results[own] = [ran(each, all_up_s=2.5, up=int(workers)) for each in measured]
    return Contest(part, USERS, documents, tuple(entries), results)


def verdicts(*contests: Contest) -> dict[str, tuple[str, bool]]:
    """What was found by limit."""
    return {limit.what: (limit.found, limit.kept) for limit in limits(contests, OPTIONS)}


def test_a_run_may_take_a_little_more_than_the_floor_and_some_time_until_there_are_many_documents() -> None:
    few = contest(floor=[5.0, 5.2, 4.8], native_2=[6.7, 6.6, 9.0])
    assert verdicts(few)["users, 1,000,000: ours, native, 2 workers"] == ("6.70 s", False)
    assert verdicts(replace(few, shape=WIDE))["wide, 1,000,000: ours, native, 2 workers"] == ("6.70 s", True)
    few = contest(floor=[5.0, 5.2, 4.8], native_2=[5.9, 5.8, 9.0])
    assert verdicts(few)["users, 1,000,000: ours, native, 2 workers"] == ("5.90 s", True)
    many = contest("sizes", 10_000_000, floor=[5.0, 5.2, 4.8], native_2=[6.7, 6.6, 9.0])
    assert verdicts(many)["users, 10,000,000: ours, native, 2 workers"] == ("6.70 s", False)


def test_ratios_are_of_the_same_round_so_that_drift_cancels_out() -> None:
    drifting = contest(native_2=[4.5, 9.5, 19.5], ingestr=[14.5, 29.5, 59.5])
    assert drifting.ratio("ingestr", own_name("native", 2)) == 29.5 / 9.5
    found = verdicts(drifting)["users, 1,000,000: ours, native, 2 workers, ingestr"]
    assert found == ("3.11 x (whole commands 3.00 x)", True)


def test_documents_in_no_order_are_judged_by_a_floor_in_natural_order() -> None:
    measured = contest("random_ids", floor=[6.0, 6.0, 6.0], ingestr=[12.0, 12.0, 12.0])
    measured.results[NATURAL] = [ran(seconds) for seconds in (7.0, 7.2, 9.0)]
    found = verdicts(measured)
    assert found["users, 1,000,000"] == ("1.20 x", True)
    assert found["users, 1,000,000: ingestr"] == ("1.67 x", True)  # three times as fast would be faster than the floor
    measured.results[NATURAL] = [ran(7.6)]
    assert not any(kept for _, kept in verdicts(measured).values())


def test_a_run_that_looks_for_its_size_is_judged_by_the_best_of_the_fixed_ones() -> None:
    measured = contest("tuning", native_1=[60.0, 62.0], native_2=[50.0, 50.0], native_8=[55.0, 55.0])
    measured.results[AUTO] = [ran(54.0), ran(54.0)]
    assert verdicts(measured) == {"users, 1,000,000: size auto, native, 2 workers": ("1.08 x", True)}
    measured.results[AUTO] = [ran(57.0), ran(56.0)]
    assert not any(kept for _, kept in verdicts(measured).values())


def test_workers_on_dask_have_nearly_the_rate_of_those_on_this_host() -> None:
    measured = contest("hosts", documents=10_000_000)
    measured.results[LOCAL] = [ran(38.0), ran(40.0), ran(39.0)]
    measured.results[ON_DASK] = [ran(40.0), ran(41.0), ran(80.0)]
    assert verdicts(measured) == {"users, 10,000,000: on Dask": ("0.950 x", True)}
    measured.results[ON_DASK] = [ran(40.1), ran(43.0), ran(42.0)]
    assert verdicts(measured) == {"users, 10,000,000: on Dask": ("0.930 x", False)}
    measured.results[LOCAL] = [ran(40.0, copying_rows_per_s=100.0)]
    measured.results[ON_DASK] = [ran(41.0, copying_rows_per_s=98.0)]
    assert verdicts(measured) == {"users, 10,000,000: on Dask": ("0.976 x (0.980 x without the start)", True)}


def test_checksums_are_judged_by_cpu_seconds() -> None:
    measured = contest("checksums")
    for name, all_cpu_s in ((WITH, (3.1, 9.4, 3.3)), (WITHOUT, (3.0, 9.0, 3.0))):
        measured.results[name] = [
            Figures(Ran(9.0 - cpu_s, 9.5, Cost(cpu_s, {})), {"mongod": 1.0, "postgres": 2.0}) for cpu_s in all_cpu_s
        ]
    assert verdicts(measured) == {"checksums, 1,000,000": ("1.044 x", True)}


def test_many_workers_must_be_up_and_not_much_slower_than_the_best() -> None:
    kept = verdicts(contest(native_1=[9.0], native_2=[6.0], native_90=[8.9]))
    assert kept["users, 1,000,000: ours, native, 90 workers"] == ("1.48 x", True)
    assert kept["users, 1,000,000: ours, native, 90 workers, all up"] == ("2.50 s", True)
    by_floor = contest("many_workers", native_2=[6.0], native_90=[9.1])
    by_floor.results[MANY_FLOOR] = [ran(8.0)]
    assert verdicts(by_floor)["users, 1,000,000: ours, native, 90 workers"] == ("1.52 x, 1.14 x", True)
    by_floor.results[MANY_FLOOR] = [ran(7.9)]
    assert verdicts(by_floor)["users, 1,000,000: ours, native, 90 workers"] == ("1.52 x, 1.15 x", False)
    late = contest(native_2=[6.0], native_90=[9.1])
    late.results[own_name("native", 90)] = [ran(9.1, all_up_s=None, up=81)]
    missed = verdicts(late)
    assert missed["users, 1,000,000: ours, native, 90 workers"] == ("1.52 x", False)
    assert missed["users, 1,000,000: ours, native, 90 workers, all up"] == ("only 81 at the end", False)


def test_memory_rate_and_flatness_are_judged() -> None:
    found = verdicts(
        contest(native_2=[5.0], plain_2=[30.0]),
        contest("sizes", 1_000_000, native_2=[5.0]),
        contest("sizes", 10_000_000, native_2=[56.0]),
    )
    assert found["users, 1,000,000: worker, native, 2 workers"] == ("30 MB", True)
    assert found["users, 1,000,000: engine, native, 2 workers"] == ("81 MB", False)
    assert found["users, 1,000,000: ours, plain, 2 workers"] == ("33,333 rows/s", False)
    assert found["rows/s at 10,000,000, of those at 1,000,000"] == ("0.89", False)


def test_the_report_names_what_failed_and_keeps_every_run() -> None:
    measured = contest(floor=[5.0, 5.2, 4.8], native_2=[6.7, 6.6, 9.0])
    measured.failures["sling"] = "exit code 1: no"
    text = tables([measured])
    assert "sling: FAILED, exit code 1: no" in text
    assert text.splitlines()[2].split()[:5] == ["floor", "5.00", "4.80", "5.20", "5.50"]
    (entry,) = record([measured], [], OPTIONS, {"cores": 2})["contests"]
    assert [run["ran"]["seconds"] for run in entry["contestants"]["floor"]["runs"]] == [5.0, 5.2, 4.8]


def test_a_small_collection_may_take_eight_milliseconds_of_its_run() -> None:
    found = verdicts(contest("small_collections", 30_000, native_2=[2.7, 2.1, 2.3]))
    assert found["300 collections of 100, each"] == ("7.7 ms", True)
    found = verdicts(contest("small_collections", 30_000, native_2=[2.7, 2.6, 2.3]))
    assert found["300 collections of 100, each"] == ("8.7 ms", False)


def test_a_run_that_follows_is_judged_by_its_changes_its_distance_and_its_cut_over() -> None:
    entry = Entry(FOLLOWS, "public.bench_none", lambda: Ran(0.0, 0.0, Cost(0.0, {})), 2)
    measured = Contest("follow", USERS, 1_000_000, (entry,))
    details = {"events_per_s": 16_000.0, "merged": 0.01, "behind_s": {"p95": 1.4}, "write_stop_s": 0.8}
    measured.results[FOLLOWS] = [ran(62.5, **details)]
    assert verdicts(measured) == {
        "users, 1,000,000: catching up": ("16,000 events/s", True),
        "users, 1,000,000: catching up, merged": ("1.0%", True),
        "users, 1,000,000: behind, p95": ("1.40 s", False),
        "users, 1,000,000: write stop": ("0.80 s", True),
    }
    only_caught_up = Contest("follow", USERS, 1_000_000, (entry,))
    only_caught_up.results[FOLLOWS] = [
        ran(62.5, **{name: each for name, each in details.items() if name != "behind_s"})
    ]
    assert "users, 1,000,000: behind, p95" not in verdicts(only_caught_up)


def test_a_copy_that_collects_is_compared_with_the_one_of_its_round() -> None:
    entries = tuple(
        Entry(name, "public.bench_none", lambda: Ran(0.0, 0.0, Cost(0.0, {})), 2)
        for name in (NOT_COLLECTING, COLLECTING)
    )
    measured = Contest("collecting", USERS, 1_000_000, entries)
    measured.results[NOT_COLLECTING] = [ran(5.0), ran(10.0), ran(20.0)]
    measured.results[COLLECTING] = [ran(5.4), ran(10.5), ran(30.0)]
    assert verdicts(measured) == {"users, 1,000,000: copy that collects": ("1.08 x", True)}
