"""Every edge of the mapping with its outcome: the corpus that the tests run, as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from bson import decode
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON

from tests.corpus.case import Case, Reject
from tests.corpus.damage import CORRUPT
from tests.corpus.identities import IDS
from tests.corpus.kinds import KINDS
from tests.corpus.policies import BOUNDS, DRIFT, POLICIES
from tests.corpus.structure import STRUCTURE
from tests.docs.markdown import spelled, table

MAX_SHOWN = 70
"""Characters of a value."""
_LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


def section(cases: Iterable[Case]) -> str:
    """A group of cases."""
    return table(["case", "document", "with", "outcome"], rows(cases))


def rows(cases: Iterable[Case]) -> Iterator[list[str]]:
    """A line for each case."""
    for case in cases:
        yield [case.name, document(case), ", ".join(settings(case)), outcome(case)]


def document(case: Case) -> str:
    """What stands in MongoDB, without its `_id` where that does not matter."""
    found = case.document
    if isinstance(found, bytes):
        try:
            found = decode(found, _LENIENT)
        except InvalidBSON:
            return "raw BSON"
        found.pop("_id", None)
    return code(repr(found))


def settings(case: Case) -> Iterator[str]:
    """What is not as usual: options, what the census saw, what the operator edited, what the table is like."""
    for name, value in case.options.items():
        yield code(f"{name} = {spelled(value)}")
    if len(case.seen) > 1 or (case.seen and case.seen[0] != case.document):
        yield f"census of {', '.join(code(repr(seen)) for seen in case.seen[:2])}"
    for column, changes in case.changes.items():
        yield from (code(f"{column}: {name} = {value}") for name, value in changes.items())
    for path in case.ignored:
        yield f"{code('.'.join(path))} ignored"


def outcome(case: Case) -> str:
    """What becomes of it."""
    if isinstance(case.expected, Reject):
        place = f" of {code(case.expected.field)}" if case.expected.field else ""
        return f"reject {code(case.expected.reason)}{place}"
    shown = [
        f"{code(column)} {'NULL' if text is None else code(text)}"
        + (f" ({case.types[column]})" if column in case.types else "")
        for column, text in case.expected.items()
    ]
    return ", ".join(shown) or "all NULL"


def code(text: str) -> str:
    """Foreign text within a cell: on one line, short."""
    visible = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
    cut = visible if len(visible) <= MAX_SHOWN else visible[: MAX_SHOWN - 1] + "…"
    return f"`{cut}`" if cut.strip() else f'`"{cut}"`'


EDGES: dict[str, Callable[[], str]] = {
    f"edges-{name}": partial(section, cases)
    for name, cases in {
        "kinds": KINDS,
        "policies": POLICIES,
        "drift": DRIFT,
        "bounds": BOUNDS,
        "ids": IDS,
        "structure": STRUCTURE,
        "corrupt": CORRUPT,
    }.items()
}
"""By the name of the section."""
