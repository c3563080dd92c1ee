"""Messages as bytes: each class comes back as it was, and bytes make nothing else than what is listed."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.options import MappingOptions
from engine.mongo.causal import CausalTime
from engine.mongo.natural import Numbering
from engine.work import messages
from engine.work.codec import MESSAGES, BadMessage, Codec
from engine.work.context import WorkerStart

CODEC = Codec(MESSAGES)
MAPPING = Mapping(
    columns=(
        Column(name="_id", type=ColumnType.TEXT, role=Role.ID, kinds=frozenset({Kind.OBJECT_ID, Kind.INT64})),
        Column(name="élan", type=ColumnType.NUMERIC, path=("a", "b"), array=True, precision=10, scale=2, nul="strip"),
    ),
    options=MappingOptions(flatten=2, nul="replace"),
    ignored=(("x", "y"),),
)
BOUND = b"\x16\x00\x00\x00\x07_id\x00\xff\xfe\x00"
COPY = messages.CopyLease(1, 7, 3, BOUND, False, None)
CENSUS = messages.CensusLease(-1, 0, None, True, BOUND, (None, BOUND))
DIFFERENCE = messages.Difference("different", '{"$oid": "1"}', "a.b", "a_b", None, "lone \ud800 surrogate", "nul")
VALUES: list[object] = [
    messages.CopyTask("run", 1, "shop", "users", "public", "users", MAPPING, "create", True, BOUND, 1 << 62,
                      held=("public", "users"), numbering=Numbering("m1:27017", "table:7", BOUND),
                      after=CausalTime(5 << 32, BOUND)),
    messages.SeedTask(0, "shop", "users", 3),
    messages.VerifyTask("run", 1, "shop", "users", "public", "users", MAPPING, (MAPPING, MAPPING)),
    messages.KeysTask("run", 1, "shop", "users", MAPPING, "keys_1"),
    messages.CensusTask(-1, "shop", "users", 2, True),
    messages.ApplyTask("run", 1_000_001, 1, "shop", "users", "public", "users", MAPPING, "00ff"),
    COPY,
    messages.ApplyLease(1_000_001, 3, 9, CausalTime(1, b""), BOUND),
    messages.CopyBundle((COPY, COPY)),
    messages.SeedLease(0, 100, 200),
    messages.VerifyLease(1, 7, 0, None, BOUND, True, (BOUND, None)),
    CENSUS,
    messages.NewTasks((messages.SeedTask(0, "shop", "users", 3), messages.CensusTask(-1, "shop", "users", 2, True))),
    messages.NewLease(messages.CopyBundle((COPY,))),
    messages.Yield(),
    messages.Abort(),
    messages.Tune(8_000, 12.5),
    messages.Retire(),
    messages.Probe(),
    messages.SourceServer("rs0", "65f", "p1"),
    messages.TargetServer("741", "16384", "1.5"),
    messages.Probed("0.1.0", 1, "native", "3.12.1", 4, messages.SourceServer(), messages.TargetServer("", "1", "2"), "x"),
    messages.Ready(4711, "native"),
    messages.Connected(99),
    messages.Committed(1, 7, 3, 10, 9, 1, 1_000, True, (("nul", 1),), (("strip", 2),)),
    messages.Applied(1_000_001, 3, 10, 8, 1, 1),
    DIFFERENCE,
    messages.LessStrict("a", "a.[]", "text", 4),
    messages.Compared(1, 7, 3, 10, 8, 1, 1, 0, 1_000, 9, False, True, (1 << 64) - 1, (DIFFERENCE,),
                      (messages.LessStrict("a", "a.[]", "text", 4),)),
    messages.Counted(CENSUS, 10, b"{}", CENSUS),
    messages.Progress(1, messages.Committed(1, 7, 3, 10, 9, 1, 1_000, True)),
    messages.Returned(COPY, False, COPY),
    messages.Failed(COPY, "08006", "PostgreSQL has closed the connection.", False, True),
    messages.Problem("retry", "Again."),
    CausalTime(1, BOUND),
    Numbering("m1:27017", "table:7", BOUND),
    MAPPING,
    WorkerStart("run", "mongodb://h/d", "postgresql://h/d", "auto"),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_message_comes_back_as_it_was(value: object) -> None:
    read = CODEC.decode(CODEC.encode(value))
    assert read == value
    assert type(read) is type(value)


def example(kind: Any) -> Any:
    """A value of a type."""
    plain = {int: 1 << 40, str: "x", bytes: BOUND, bool: True, float: 1.5, object: None, type(None): None}
    other = {Mapping: MAPPING, messages.Task: messages.SeedTask(0, "shop", "users", 3), messages.Lease: COPY}
    if kind in plain:
        return plain[kind]
    if kind in other:
        return other[kind]
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return (example(inner[0]),) if inner[-1] is Ellipsis else tuple(map(example, inner))
    if get_args(kind):
        return example(get_args(kind)[0])
    return kind(**{name: example(hint) for name, hint in get_type_hints(kind).items()})


@pytest.mark.parametrize(
    "kind", [kind for kind in MESSAGES if kind is not Mapping], ids=lambda kind: str(kind.__name__)
)
def test_every_class_of_messages_comes_back_with_all_of_its_fields(kind: type) -> None:
    value = example(kind)
    assert CODEC.decode(CODEC.encode(value)) == value


def test_every_class_of_messages_is_listed() -> None:
    made_here = {each for each in vars(messages).values() if isinstance(each, type) and is_dataclass(each)}
    assert made_here | {Mapping, WorkerStart, CausalTime, Numbering} == set(MESSAGES)


def test_plain_values_come_back() -> None:
    value: object = {1: [None, True, 2.5, "x"], "k": ({"a": b"\0"}, (), [])}
    assert CODEC.decode(CODEC.encode(value)) == value


def test_what_is_not_listed_is_not_written() -> None:
    class Retire:
        """Of the same name as one that is."""

    for value in (object(), Retire(), {1, 2}, Kind.INT32):
        with pytest.raises(TypeError, match="no message has a"):
            CODEC.encode(value)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04N.", b"{", b'{"os.system": "x"}', b'{"Tune": {"pages": 1}}', b'{"Tune": 1}', b'{"bytes": "?"}',
     b'{"Tune": {}, "Yield": {}}', b"{}", b'{"tuple": 1}', b'{"Mapping": {"columns": 1}}', b"[" * 100_000],
)  # fmt: skip
def test_bytes_that_are_no_message_are_refused(content: bytes) -> None:
    with pytest.raises(BadMessage):
        CODEC.decode(content)


def test_it_is_json_that_other_programs_can_read() -> None:
    assert json.loads(CODEC.encode(messages.SeedLease(0, 1, 2))) == {"SeedLease": {"task_id": 0, "low": 1, "high": 2}}
