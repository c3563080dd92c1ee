"""Guards as text: what they do to the run and why, a line each. Every text that comes out of here is harmless."""

from __future__ import annotations

from engine.protocol import GuardActed, GuardsView, GuardView, Snapshot
from tui.words.format import rate
from tui.words.safe import safe
from tui.words.vitals import Vital

_LIMIT = 300
"""Characters of what a guard sees."""
_UNITS = {"standby_lag": " s", "secondary_lag": " s", "blocked": " s", "tickets": "%"}
_DONE = {"slowed": "slowed", "paused": "paused", "resumed": "no longer paused", "lifted": "no longer slowed"}


def guards_line(view: GuardsView | None) -> str:
    """`slowed to 4,821 rows/s: standby standby1 replays 14 s behind (limit 10 s)`; empty while nothing is done."""
    if view is None or not view.action:
        return ""
    past = [each.words for each in view.guards if each.state in ("slows", "pauses")]
    reason = safe(past[0] if past else view.reason, _LIMIT)
    more = f", and {len(past) - 1} more" if len(past) > 1 else ""
    if view.action == "paused":
        return f"paused: {reason}{more}" if past else "paused: what its guards saw is over, it goes on in a moment"
    to = f" to {rate(view.rows_per_s)}" if view.rows_per_s is not None else ""
    return f"slowed{to}: {reason}{more}" if past else f"slowed{to}, less and less: {reason} is over"


def guards_status(view: GuardsView | None) -> str:
    """The same for `ctl status`, which also tells that guards are turned off."""
    return "turned off" if view is not None and not view.on else guards_line(view)


def slowed_words(snapshot: Snapshot) -> str:
    """The same of a run that is slowed; one that is paused says why in the place of its ETA."""
    view = snapshot.guards
    return guards_line(view) if view is not None and view.action == "slowed" else ""


def acted_words(event: GuardActed) -> str:
    """`slowed to 4,821 rows/s by guard standby_lag: standby standby1 replays 14 s behind (limit 10 s)`."""
    done = _DONE.get(event.what, safe(event.what, 40))
    to = f" to {rate(event.rows_per_s)}" if event.rows_per_s is not None and event.what == "slowed" else ""
    to = f", slowed to {rate(event.rows_per_s)}" if event.rows_per_s is not None and event.what == "resumed" else to
    by = f" by guard {safe(event.guard, 40)}" if event.guard else ""
    because = "; ".join(safe(words, _LIMIT) for words in (event.reason, *event.others) if words)
    if event.what in ("resumed", "lifted"):
        return f"guards: {done}{to}"
    return f"{done}{to}{by}" + (f": {because}" if because else "")


def acted_mark(event: GuardActed) -> str:
    """For the chart: `slowed: standby_lag`."""
    done = _DONE.get(event.what, safe(event.what, 40))
    return f"{done}: {safe(event.guard, 40)}" if event.guard else done


def guard_vitals(view: GuardsView | None) -> list[Vital]:
    """What is done, and what each guard sees, for the page in full."""
    if view is None:
        return []
    if not view.on:
        return [Vital("guards", "turned off", "mongopg-tui ctl set guard.on=true turns them on.", is_bad=True)]
    found = [Vital("this run", line, _advice(view), is_bad=True)] if (line := guards_line(view)) else []
    return found + [_vital(each) for each in view.guards]


def _advice(view: GuardsView) -> str:
    named = next((each.name for each in view.guards if each.state in ("slows", "pauses")), "")
    if not named:
        return ""
    ignore = ", or name what may be behind in guard.ignore" if named in ("standby_lag", "secondary_lag") else ""
    return f"It comes back by itself. To change the limit: mongopg-tui ctl set guard.{named}=…{ignore}."


def _limit(name: str, limit: float) -> str:
    """`10 s`, `2 GB`, `5%`."""
    if name in ("disk_free", "slot_wal"):
        return f"{limit / 1e9:,g} GB"
    return f"{limit:,g}{_UNITS.get(name, '')}"


def _vital(guard: GuardView) -> Vital:
    label = safe(guard.name, 40)
    if guard.state == "waiting":
        return Vital(label, "not looked at yet")
    if guard.state == "unseen":
        remedy = f"As an administrator, run: {safe(guard.remedy, _LIMIT)}" if guard.remedy else ""
        return Vital(label, f"cannot see, does nothing: {safe(guard.words, _LIMIT)}", remedy)
    limits = [
        f"{what} at {_limit(guard.name, limit)}"
        for what, limit in (("slows", guard.limit), ("pauses", guard.hard))
        if limit is not None and guard.state == "fine"
    ]
    words = safe(guard.words, _LIMIT) + (f" ({', '.join(limits)})" if limits else "")
    return Vital(label, words, is_bad=guard.state in ("slows", "pauses"))
