"""What was compared of both sides after a run, when, and what a retry of rejects has written since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.protocol import ComparedOnce, Event, RejectsRetried, RetriedOnce, RunVerified
from tui.words.format import counted, time_of_day
from tui.words.run_status import verification_words

AT_END = "as counted at the run's end"
AT_END_AND_RETRIED = "counted at the run's end; rows of a retry were added"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The last one of a run, and what came after it."""

    last: ComparedOnce | None
    """None: there was none but the counts at the run's end."""
    written_since: int = 0
    """Rows that retries have written since, which nothing has compared; of all retries, where there was no comparison."""
    retried_unix: float = 0.0
    """When the last of them was, seconds since 1970; 0 where that was not kept."""

    @property
    def is_outdated(self) -> bool:
        """Rows were written since."""
        return self.last is not None and self.written_since > 0

    def words(self, now: float = 0.0) -> str:
        """What was compared, and when.

        Args:
            now: seconds since 1970; a time of another day is told with its day.
        """
        if self.last is None:
            return AT_END_AND_RETRIED if self.written_since else AT_END
        told = _in_full(self.last.level) + (f" at {self._clock(self.last.unix, now)}" if self.last.unix else "")
        return f"{told}: {verification_words(self.last.result, self.last.level)}" if self.is_outdated else told

    def since_words(self, now: float = 0.0) -> str:
        """What a retry has written since; empty where none has."""
        if not self.written_since:
            return ""
        when = f" at {self._clock(self.retried_unix, now)}" if self.retried_unix else ""
        return f"a retry of rejects{when} has written {counted(self.written_since, 'row')} since"

    @staticmethod
    def _clock(unix: float, now: float) -> str:
        return time_of_day(unix, since=now or unix, seconds=True)


def _in_full(level: str) -> str:
    return "compared in full" if level == "full" else "compared, some tables by their counts"


def of_events(events: Iterable[Event]) -> Comparison:
    """Of a run's events, in their order."""
    last: ComparedOnce | None = None
    written, retried = 0, 0.0
    for event in events:
        match event:
            case RunVerified():
                last = ComparedOnce(
                    result=event.result.value, level=event.verification_level, seconds=event.seconds, unix=event.unix
                )
                written = 0
            case RejectsRetried() if event.written:
                written, retried = written + event.written, event.unix
    return Comparison(last, written, retried)


def of_report(compared: Sequence[ComparedOnce], retried: Sequence[RetriedOnce]) -> Comparison:
    """Of a report: both in their order, but apart, so that their times tell which came first."""
    last = compared[-1] if compared else None
    since = [each for each in retried if each.written and (last is None or each.unix > last.unix)]
    return Comparison(last, sum(each.written for each in since), since[-1].unix if since else 0.0)
