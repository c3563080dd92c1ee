"""Which cluster size to try next, and which to keep.

::

    searching   the size that is kept, then others: twice as many as long as that is faster, half as many as long as that is
                no slower, then sizes between the best one and its neighbours
    steady      the best size; now and then one a little larger, then one a little smaller, ever more seldom

More workers have to prove that they are faster, fewer only that they are no slower: a worker too many costs connections,
memory, and other users of the servers. What is compared is bytes of committed documents per second in a window
(`engine.tuning.window`); windows in which something else happened do not count.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from math import hypot, log
from statistics import median

from engine.plurals import counted
from engine.tuning.window import Measured, Window

SETTLE_S = 1.2
"""After a change, and whatever else made a window void, so long does not count."""
QUICK_S = 60.0
"""From the first window on, sizes may follow one another as quickly as windows allow."""
GAP_S = 10.0
"""Later, so long passes between two changes."""
GAIN = 0.05
"""More workers are kept when they are so much faster, and twice the error of the measurement."""
CLEAR = 0.3
"""What is so much faster, and three times the error, needs no further look."""
LOSS = 0.02
"""Fewer are kept when they are not slower by more than this."""
FAR_LOSS = 0.06
"""Nor, by as many steps as may be, by more than this than the fastest size that was seen."""
SAME, ODD = 0.1, 0.2
"""Rates that are alike, and much faster ones: both at once are odd."""
SHIFT = 0.25
"""When the rate of the size that is kept has changed by so much, all sizes are tried anew."""
FIRST_REST_S, LAST_REST_S = 20.0, 300.0
"""From one look at other sizes to the next, when all is steady; it doubles each time that nothing was better."""
REVERSALS = 3
REVERSALS_S = 300.0
"""After so many returns to one size within this, the next look is as late as can be."""
STUCK_S = 30.0
"""A size whose workers are not there after so long is given up."""
VOID_S = 5.0
"""So is a larger one that cannot be measured for so long: it may be why a guard acts."""
CEILING_S = 300.0
"""For so long a size that there was no room for is not tried again."""
LEAST_ERROR = 0.02
"""A few parts of a window may be alike by chance."""
NOISES, KNOWN = 8, 3
"""Windows whose noise tells the usual one: of the newest, the median; and so many at least."""
MATTERS = 0.1
"""A difference that must not be overlooked: as long as there may be one, a window becomes longer."""
UNDECIDED_S = 9.0
"""But not longer than this in a quick search, and than twice this later."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A run at one moment."""

    now: float
    """Seconds of any clock that does not go back."""
    workers: int
    """That are at work, none of them about to leave."""
    waiting: int
    """Partitions that no worker has yet."""
    void: str = ""
    """Why this moment tells nothing of the cluster's size; empty when it does."""
    checkpoints: int = 0
    """Of the target so far."""
    obstacle: str = ""
    """What more workers would wait for, too; empty for nothing that is known."""


@dataclass(frozen=True, slots=True)
class Step:
    """A decision."""

    size: int
    """That the cluster is to have."""
    stable: int
    """That is kept; another one is probed."""
    reason: str


class Prober:
    """Looks at a run again and again, and decides now and then."""

    def __init__(self, size: int, low: int, high: int) -> None:
        """Nothing is measured.

        Args:
            size: of the cluster as it is.
            low: least size.
            high: largest size.
        """
        self.low, self.high = low, high
        self.size = self.stable = size
        self._room, self._room_until = high, 0.0
        """Largest size that there is room for, and until when that is known."""
        self._now = 0.0
        self._known: dict[int, Measured] = {}
        """Sizes that were measured since the search began."""
        self._noises: deque[float] = deque(maxlen=NOISES)
        self._window: Window | None = None
        self._is_searching = True
        self._quick_until: float | None = None
        self._changed_at = float("-inf")
        self._unsettled_since: float | None = None
        """Since when workers are missing."""
        self._void_since: float | None = None
        self._rest_s = FIRST_REST_S
        self._next_at = 0.0
        """When a steady run looks at other sizes."""
        self._is_down_next = False
        self._n_shifted = 0
        """Windows in a row in which the size that is kept had another rate."""
        self._reversals: deque[tuple[float, int]] = deque()
        self._checkpoints: int | None = None
        self._n_checkpoint_voids = 0
        self._told_obstacle = ""

    # --- what happens -------------------------------------------------------------------------------------------------

    def committed(self, at: float, n_bytes: int) -> None:
        """A slice was committed, by the clock of `Sight.now`."""
        if self._window is not None:
            self._window.add(at, n_bytes)

    def forced(self, size: int) -> None:
        """The cluster has another size, since there is room for no more."""
        self.size = self.stable = size
        self._lower_ceiling(size)
        self._begin_search({})

    def no_room_for(self, size: int) -> None:
        """What was decided last cannot be: all stays as it was."""
        self._lower_ceiling(size - 1)
        self.size = self.stable

    def other_work(self) -> None:
        """Other collections are copied: what was measured of the ones before says little."""
        self._window = None
        self._rest_s = FIRST_REST_S
        self._reversals.clear()
        if self._is_searching or self.size != self.stable:
            self._known.clear()

    def look(self, sight: Sight) -> list[Step]:
        """What is decided now, one after the other. Call it some times a second."""
        self._now = sight.now
        if not self._is_settled(sight):
            return self._give_up(sight)
        if self._window is None:
            self._window = Window(self.size, sight.now + SETTLE_S)
        measured = self._window.measured(sight.now)
        if measured is None:
            return []
        if self.size != self.stable and self.stable not in self._known:
            return self._change(sight.now, self.stable, "other collections are copied")
        if self._quick_until is None:
            self._quick_until = sight.now + QUICK_S
        if self.size == self.stable:
            return self._stayed(sight, measured)
        return self._probed(sight, measured)

    # --- windows ------------------------------------------------------------------------------------------------------

    def _is_settled(self, sight: Sight) -> bool:
        """The moment belongs to a window."""
        is_checkpoint = self._checkpoints is not None and sight.checkpoints != self._checkpoints
        self._checkpoints = sight.checkpoints
        if is_checkpoint and self._window is not None:
            # Where they come in every window they are a part of what is measured.
            self._n_checkpoint_voids += 1
            if self._n_checkpoint_voids <= 1:
                self._window = None
                return False
        is_missing = sight.workers != self.size
        self._void_since = _since(self._void_since, sight.now, so=bool(sight.void))
        self._unsettled_since = _since(self._unsettled_since, sight.now, so=is_missing and not sight.void)
        if sight.void or is_missing or sight.waiting < self.size:
            self._window = None
            return False
        return True

    def _give_up(self, sight: Sight) -> list[Step]:
        """Return from a size whose workers do not come, or from a larger one that cannot be measured."""
        missing_s, void_s = (sight.now - (since or sight.now) for since in (self._unsettled_since, self._void_since))
        if self.size > self.stable and void_s >= VOID_S:
            why = f"{self.size} cannot be measured: {sight.void}"
        elif self.size != self.stable and missing_s >= STUCK_S:
            why = f"{counted(self.size, 'worker was', 'workers were')} not at work within {STUCK_S:.0f} s"
            self._lower_ceiling(self.size - 1 if self.size > self.stable else self.high)
        else:
            return []
        self._is_searching = False
        self._rest(sight.now)
        return self._change(sight.now, self.stable, why)

    @property
    def _ceiling(self) -> int:
        """The largest size that may be tried."""
        return self._room if self._now < self._room_until else self.high

    def _lower_ceiling(self, size: int) -> None:
        self._room, self._room_until = max(self.low, min(self._ceiling, size)), self._now + CEILING_S

    def _error(self, one: Measured, other: Measured) -> float:
        """Standard error of the ratio of two rates. A window alone knows its own error badly: the usual one counts."""
        noise = median(self._noises) if len(self._noises) >= KNOWN else max(one.noise, other.noise)
        return max(LEAST_ERROR, noise * hypot(one.long_s**-0.5, other.long_s**-0.5))

    def _end_window(self) -> None:
        self._window = None
        self._n_checkpoint_voids = 0

    # --- decisions ----------------------------------------------------------------------------------------------------

    def _stayed(self, sight: Sight, measured: Measured) -> list[Step]:
        """The size that is kept was measured."""
        if not measured.is_certain:
            return []
        before = self._known.get(self.stable)
        self._noises.append(measured.noise)
        self._end_window()
        self._known[self.stable] = measured
        if self._is_searching:
            return self._go_on(sight, "")
        if before is not None and abs(measured.rate / before.rate - 1) > max(SHIFT, 4 * self._error(measured, before)):
            self._known[self.stable] = before
            self._n_shifted += 1
            if self._n_shifted < 2:
                return []
            self._begin_search({self.stable: measured})
            return self._go_on(sight, f"the rate has changed ({_rates(before, measured)}); ")
        self._n_shifted = 0
        if sight.now < self._next_at or not self._may_change(sight.now):
            return []
        return self._look_round(sight)

    def _look_round(self, sight: Sight) -> list[Step]:
        """A steady run: one step up, later one down."""
        above = min(self._ceiling, self.stable + max(1, self.stable // 4))
        below = max(self.low, self.stable - max(1, self.stable // 8))
        told: list[Step] = []
        if not self._is_down_next and above > self.stable:
            if self._may_grow(sight):
                return self._change(sight.now, above, self._base)
            told = self._tell_obstacle(sight)
        if below < self.stable:
            return [*told, *self._change(sight.now, below, self._base)]
        self._rest(sight.now)
        return told

    def _probed(self, sight: Sight, measured: Measured) -> list[Step]:
        """A size that was probed was measured: keep it, or not."""
        kept = self._known[self.stable]
        is_more = self.size > self.stable
        fastest = max(each.rate for each in self._known.values())
        gain, error = measured.rate / kept.rate - 1, self._error(measured, kept)
        loss = measured.rate / fastest - 1
        longest_s = UNDECIDED_S if self._is_quick(sight.now) else 2 * UNDECIDED_S
        if is_more:
            is_better = gain > max(GAIN, (2 if measured.long_s < longest_s else 1) * error)
            is_open = not is_better and gain + (2 if gain > 0 else 1) * error > MATTERS
        else:
            is_better = gain > -LOSS and loss > -FAR_LOSS
            is_open = is_better and loss - 2 * error < -MATTERS
        is_certain = measured.is_certain or gain > CLEAR + 3 * error
        if not self._may_change(sight.now) or not is_certain or (is_open and measured.long_s < longest_s):
            return []  # the window becomes longer
        self._noises.append(measured.noise)
        self._end_window()
        self._known[self.size] = measured
        if is_better:
            return self._keep(sight, measured, kept)
        words = f"{_percent(gain)} with {self.size} ({_rates(kept, measured)}) {_no(gain, is_more=is_more)}"
        if self._is_searching:
            return self._go_on(sight, f"{words}; ")
        return self._return(sight, words)

    def _keep(self, sight: Sight, measured: Measured, before: Measured) -> list[Step]:
        """The size that was probed is the one that is kept from now on."""
        old, self.stable = self.stable, self.size
        self._rest_s = FIRST_REST_S
        more = [each.rate for size, each in self._known.items() if size > old > self.stable]
        if more and max(more) > (1 - SAME) * before.rate and measured.rate > (1 + ODD) * before.rate:
            # More and many more are alike, and fewer are much faster: the servers were slower then, for another reason.
            self._known = {self.stable: measured}
        if not self._is_searching:
            self._begin_search({old: before, self.stable: measured})
        step = Step(self.size, self.stable, f"{_percent(measured.rate / before.rate - 1)} ({_rates(before, measured)})")
        return [step, *self._go_on(sight, "")]

    def _go_on(self, sight: Sight, why: str) -> list[Step]:
        """The next size of a search; without one the run is steady."""
        if not self._may_change(sight.now):
            return []
        candidate = self._candidate(sight)
        if candidate is not None:
            return self._change(sight.now, candidate, why + self._base)
        self._is_searching = False
        self._rest(sight.now)
        if self.size != self.stable:
            return self._change(sight.now, self.stable, why.removesuffix("; "))
        return self._tell_obstacle(sight) if self.stable < self._ceiling else []

    def _return(self, sight: Sight, words: str) -> list[Step]:
        """A steady run goes back to the size that it keeps."""
        self._reversals.append((sight.now, self.stable))
        while self._reversals[0][0] < sight.now - REVERSALS_S:
            self._reversals.popleft()
        if sum(size == self.stable for _, size in self._reversals) >= REVERSALS:
            self._rest_s = LAST_REST_S
        self._is_down_next = self.size > self.stable > self.low
        if self._is_down_next:
            self._next_at = sight.now + GAP_S
        else:
            self._rest(sight.now)
        return self._change(sight.now, self.stable, words)

    def _candidate(self, sight: Sight) -> int | None:
        """A size worth measuring; None when the best one is known well enough."""
        above = [size for size in self._known if size > self.stable]
        below = [size for size in self._known if size < self.stable]
        may_grow = self._may_grow(sight)
        if not above and may_grow and self.stable < self._ceiling:
            return min(self._ceiling, 2 * self.stable)
        if not below and self.stable > self.low:
            return max(self.low, self.stable // 2)
        neighbours = [min(above)] if above and may_grow else []
        neighbours += [max(below)] if below else []
        wide = [size for size in neighbours if abs(size - self.stable) > max(1, self.stable // 4)]
        if not wide:
            return None
        neighbour = max(wide, key=self._promise)
        return (self.stable + neighbour) // 2

    def _promise(self, neighbour: int) -> float:
        """How much may be found between the best size and one that was measured: where that is far, and hardly worse."""
        worth = self._known[neighbour].rate / self._known[self.stable].rate
        return abs(log(neighbour / self.stable)) * worth * worth

    def _may_grow(self, sight: Sight) -> bool:
        return not sight.obstacle and sight.waiting >= self.stable

    def _may_change(self, now: float) -> bool:
        return self._is_quick(now) or now - self._changed_at >= GAP_S

    def _is_quick(self, now: float) -> bool:
        return self._is_searching and self._quick_until is not None and now < self._quick_until

    def _change(self, now: float, size: int, reason: str) -> list[Step]:
        self.size = size
        self._changed_at = now
        self._window = None
        return [Step(size, self.stable, reason)]

    @property
    def _base(self) -> str:
        """What another size is compared with."""
        return f"{self.stable} copied {_rate(self._known[self.stable])}"

    def _begin_search(self, known: dict[int, Measured]) -> None:
        self._known = known
        self._is_searching = True
        self._is_down_next = False
        self._n_shifted = 0
        self._window = None

    def _rest(self, now: float) -> None:
        """Nothing is better than what is kept."""
        self._next_at = now + self._rest_s
        self._rest_s = min(LAST_REST_S, 2 * self._rest_s)

    def _tell_obstacle(self, sight: Sight) -> list[Step]:
        """Say why there are not more workers, once."""
        kind = re.sub(r"[0-9.]+", "", sight.obstacle)  # the numbers in it change all the time
        if not kind or kind == self._told_obstacle:
            return []
        self._told_obstacle = kind
        return [Step(self.size, self.stable, f"not more workers: {sight.obstacle}")]


def _since(since: float | None, now: float, *, so: bool) -> float | None:
    """Since when it is so; None when it is not."""
    return (now if since is None else since) if so else None


def _no(gain: float, *, is_more: bool) -> str:
    """Why a size is not kept."""
    if not is_more:
        return "is slower"
    return "is not worth more workers" if gain > GAIN else "is noise" if gain > -LOSS else "is slower"


def _percent(gain: float) -> str:
    return f"{100 * gain:+.0f} %"


def _rates(before: Measured, after: Measured) -> str:
    return f"{before.rate / 1e6:.1f} to {_rate(after)}"


def _rate(measured: Measured) -> str:
    return f"{measured.rate / 1e6:.1f} MB/s"
