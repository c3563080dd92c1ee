"""What is told of a source that is followed: its oplog is getting short, and has enough again; collections are new."""

from __future__ import annotations

from engine.follow.news import NEW_TOLD, NewCollections, OplogAlarm, resumable_until


def codes(alarm: OplogAlarm, *looks: tuple[float, float]) -> list[str]:
    return [found.code for behind_s, left_s in looks if (found := alarm.look(behind_s, left_s)) is not None]


def test_a_short_oplog_is_told_once_and_once_more_when_it_is_urgent() -> None:
    looks = [(10.0, 990.0), (510.0, 490.0), (520.0, 480.0), (810.0, 190.0), (900.0, 100.0)]
    assert codes(OplogAlarm(), *looks) == ["oplog_short", "oplog_urgent"]


def test_it_is_told_again_when_it_had_been_over() -> None:
    looks = [(810.0, 190.0), (450.0, 550.0), (520.0, 480.0), (100.0, 900.0), (520.0, 480.0)]
    assert codes(OplogAlarm(), *looks) == ["oplog_urgent", "oplog_short"]


def test_a_young_oplog_is_no_alarm_while_it_is_read_closely() -> None:
    assert codes(OplogAlarm(), (20.0, 2.0), (0.0, 0.0)) == []


def test_that_changes_are_not_read_is_told_once_before_the_oplog_is_short() -> None:
    alarm, why = OplogAlarm(), "PostgreSQL does not answer."
    assert alarm.look(29.0, 3_600.0, why) is None
    found = alarm.look(30.0, 3_600.0, why)
    assert found is not None
    assert (found.code, found.message) == (
        "oplog_waits",
        "Changes of the source were not read for 30 s: PostgreSQL does not answer. They are read on when that is over; the "
        "source's oplog keeps them, and reaches 3,600 s further back.",
    )
    assert alarm.look(60.0, 3_570.0, why) is None
    short = alarm.look(3_000.0, 600.0, why)
    assert short is not None
    assert short.code == "oplog_urgent"
    assert alarm.look(0.0, 3_600.0) is None
    assert alarm.look(40.0, 3_600.0) is None, "nothing is known to keep them from being read"


def test_an_alarm_says_how_much_is_left_and_why() -> None:
    found = OplogAlarm().look(900.0, 100.0, "The target's disk is full.")
    assert found is not None
    assert found.message == (
        "Only 10% of the source's oplog is left, 100 s, before changes that are not read yet are lost: "
        "The target's disk is full."
    )
    assert "replSetResizeOplog" in found.advice


NOON = 1_764_590_400 << 32
"""2025-12-01 12:00:00 UTC."""


def test_a_run_that_is_stopped_says_until_when_the_oplog_has_what_it_has_not_read() -> None:
    hour = 3_600 << 32
    assert resumable_until(NOON, NOON + (hour // 60), NOON - 6 * hour).message == (
        "The source's changes are read up to 2025-12-01 12:00:00 UTC, and its oplog has those that follow until about "
        "2025-12-01 18:01:00 UTC, as long as no more is written than before: resume the run by then."
    )
    assert "is not known: resume the run soon" in resumable_until(NOON, NOON, None).message


def told(found: NewCollections, *names: str) -> list[str]:
    return [each.namespace for each in found.look({"shop": set(names)})]


def test_collections_that_were_there_are_no_news_and_new_ones_are_once() -> None:
    found = NewCollections()
    assert told(found, "orders") == []
    assert told(found, "orders", "orders_2", "system.views", "tmp.agg_out.1") == ["shop.orders_2"]
    assert told(found, "orders", "orders_2") == []


def test_of_very_many_the_number_is_told() -> None:
    found = NewCollections()
    found.look({"shop": set()})
    news = found.look({"shop": {f"c{number}" for number in range(NEW_TOLD + 5)}})
    assert len(news) == NEW_TOLD + 1
    assert "(5 now)" in news[-1].message
    assert found.look({"shop": {"another"}}) == []
