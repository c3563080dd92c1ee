"""Two runs side by side, from what the ledger keeps of them."""

from __future__ import annotations

from textual.content import Content

from engine.knobs import CLUSTER_SIZE, PAGE_SIZE, THROTTLE, Knob
from engine.protocol import KnobChanged, Recording, RunPlanned
from tui.cockpit.signs import MUTED, sign_of
from tui.words.format import duration, number
from tui.words.knobs import value_text
from tui.words.run_status import overall_rate, rate_words
from tui.words.safe import safe

_LABEL = 14
_COLUMN = 26


def comparison_text(one: Recording, other: Recording) -> Content:
    """A line for each fact; those that differ are marked."""
    lines = [
        _line(what, safe(first, _COLUMN), safe(second, _COLUMN))
        for (what, first), (_, second) in zip(_facts(one), _facts(other), strict=True)
    ]
    own, others = one.run.collections, other.run.collections
    for words, names in (("only the first", set(own) - set(others)), ("only the second", set(others) - set(own))):
        if names:
            lines.append(Content.assemble((f"  {words:<{_LABEL}}  ", MUTED), safe(", ".join(sorted(names)), 400)))
    speed, before = overall_rate(one.run), overall_rate(other.run)
    if speed and before:
        lines += [
            Content(""),
            Content(f"Overall, the first wrote {speed / before:.2f} times as many rows per second as the second."),
        ]
    return Content("\n").join(lines)


def _facts(recording: Recording) -> list[tuple[str, str]]:
    run = recording.run
    return [
        ("run", run.run_id),
        ("outcome", sign_of(run).word),
        ("mode", run.mode),
        ("collections", number(len(run.collections))),
        ("read", number(run.read)),
        ("written", number(run.written)),
        ("rejected", number(run.rejected)),
        ("time", duration(run.seconds)),
        ("rows/s overall", rate_words(overall_rate(run))),
        ("while copying", rate_words(run.rows_per_s_copying or None)),
        *((knob.label.lower(), _values(recording, knob)) for knob in (CLUSTER_SIZE, PAGE_SIZE, THROTTLE)),
    ]


def _values(recording: Recording, knob: Knob) -> str:
    """What a knob was, one value after the other: `6,000 → 3,000`."""
    values: list[int] = []
    for event in recording.events:
        match event:
            case RunPlanned() if knob.name in event.knobs:
                values.append(event.knobs[knob.name])
            case KnobChanged() if event.knob == knob.name:
                values += [event.value] if event.old is None or values else [event.old, event.value]
    values = values or [int(getattr(recording.frames[-1], knob.name))]
    different = [value for value, before in zip(values, [None, *values], strict=False) if value != before]
    words = " → ".join(value_text(knob, value) for value in different)
    return words if len(words) <= _COLUMN else f"… → {value_text(knob, different[-1])}"


def _line(what: str, first: str, second: str) -> Content:
    differs = first != second
    words = f"{first:<{_COLUMN}}  {second:<{_COLUMN}}"
    return Content.assemble(
        (f"{'≠' if differs else ' '} {what:<{_LABEL}}  ", MUTED), (words, "bold" if differs else "")
    )
