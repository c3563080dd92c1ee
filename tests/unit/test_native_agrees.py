"""The native converter against the plain one: every field of what comes out, for documents of every kind and for damage."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Literal

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.convert import built_converters, converter_name, make_converter
from engine.mapping.census import Census
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose
from engine.work.users import UserPages
from tests.agreement import both_converters, outcome
from tests.corpus import CASES, Case, encode
from tests.corpus.case import element, inner, text
from tests.documents import DOCUMENTS, OPTIONS, RAW_DOCUMENTS, SCALARS
from tests.mappings import any_mappings, proposed

IS_BUILT = find_spec("engine.convert.native") is not None
needs_native = pytest.mark.skipif(not IS_BUILT, reason="there is no C compiler to build the native converter with")

PAGES = st.lists(RAW_DOCUMENTS, min_size=1, max_size=5)
ID = Column(
    name="_id", type=ColumnType.BIGINT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.INT32}), nullable=True
)


def assert_agree(mapping: Mapping, batch: bytes, offset: int = 0, limit: int = 1000) -> None:
    converters = both_converters(mapping)
    if converters is not None:
        plain, native = converters
        assert outcome(native, batch, offset, limit) == outcome(plain, batch, offset, limit)


def column_of(type_: ColumnType, *kinds: Kind, array: bool = False, **options: str) -> Mapping:
    """A mapping of `_id`, which may be missing, and one field `v`."""
    column = Column(name="v", type=type_, path=("v",), kinds=frozenset(kinds), array=array)
    return Mapping(columns=(ID, column), options=MappingOptions(**options))


def test_where_there_is_a_compiler_the_native_converter_is_built() -> None:
    assert IS_BUILT or shutil.which("cc") is None, "install the package again: python -m pip install -e ."


@needs_native
def test_it_is_chosen_when_it_is_there() -> None:
    assert converter_name() == make_converter(Mapping(columns=(ID,))).name == "native"


@needs_native
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_they_agree_on_every_edge(case: Case) -> None:
    assert_agree(case.mapping(), encode(case.document))


@pytest.mark.parametrize("converter", built_converters())
def test_without_a_checksum_everything_else_is_the_same(converter: Literal["native", "plain"]) -> None:
    mapping, batch = Mapping(columns=(ID,)), bson.encode({"_id": 1}) + bson.encode({"_id": 2})
    with_one = make_converter(mapping, converter).convert(batch, 0, 10)
    without = make_converter(mapping, converter, has_checksum=False).convert(batch, 0, 10)
    assert with_one.checksum > 0
    assert without == replace(with_one, checksum=0)


@needs_native
def test_they_agree_on_users() -> None:
    users = UserPages(7).documents(0, 3000)
    census = Census()
    for user in users[:500]:
        census.add(user)
    mapping = propose(census, census.id_kinds, MappingOptions()).mapping
    assert_agree(mapping, b"".join(users))
    assert_agree(mapping, b"".join(users), len(users[0]), 100)


@needs_native
@given(page=PAGES, seen=PAGES, options=OPTIONS, offset=st.integers(0, 3), limit=st.integers(0, 5))
def test_they_agree_on_raw_documents(
    page: list[bytes], seen: list[bytes], options: MappingOptions, offset: int, limit: int
) -> None:
    assert_agree(proposed(seen, options), b"".join(page), len(b"".join(page[:offset])), limit)


@needs_native
@given(page=PAGES, options=OPTIONS)
def test_they_agree_on_documents_that_the_census_has_seen(page: list[bytes], options: MappingOptions) -> None:
    assert_agree(proposed(page, options), b"".join(page))


@needs_native
@given(page=st.lists(DOCUMENTS, min_size=1, max_size=4), options=OPTIONS)
def test_they_agree_on_what_pymongo_writes(page: list[dict[str, object]], options: MappingOptions) -> None:
    raw = [bson.encode({"_id": number, **document}) for number, document in enumerate(page)]
    assert_agree(proposed(raw, options), b"".join(raw))


@needs_native
@given(key=st.one_of(SCALARS, DOCUMENTS), options=OPTIONS)
def test_they_agree_on_keys_of_every_kind(key: object, options: MappingOptions) -> None:
    raw = bson.encode({"_id": key})
    assert_agree(proposed([raw], options), raw)


@needs_native
@given(page=PAGES, mapping=any_mappings())
def test_they_agree_under_any_mapping(page: list[bytes], mapping: Mapping) -> None:
    assert_agree(mapping, b"".join(page))


@needs_native
@given(page=PAGES, mapping=any_mappings(), data=st.data())
def test_they_agree_on_damaged_batches(page: list[bytes], mapping: Mapping, data: st.DataObject) -> None:
    batch = bytearray(b"".join(page))
    for _ in range(data.draw(st.integers(0, 4))):
        batch[data.draw(st.integers(0, len(batch) - 1))] = data.draw(st.integers(0, 255))
    assert_agree(mapping, bytes(batch[: data.draw(st.integers(len(batch) // 2, len(batch)))]))


@needs_native
@given(batch=st.binary(max_size=80), mapping=any_mappings())
def test_they_agree_on_any_bytes(batch: bytes, mapping: Mapping) -> None:
    assert_agree(mapping, batch)


@needs_native
@given(
    keys=st.lists(st.sampled_from([f"k{number}" for number in range(60)] + ["\xff"]), max_size=90),
    options=OPTIONS,
)
def test_they_agree_on_objects_of_many_keys(keys: list[str], options: MappingOptions) -> None:
    members = [element(0x10, key.encode("latin-1"), struct.pack("<i", number)) for number, key in enumerate(keys)]
    wide = inner(element(0x10, "_id", bytes(4)), *members, element(3, "v", inner(*members)))
    narrow = inner(element(0x10, "_id", bytes(4)), element(3, "v", inner(*members[:3])))
    assert_agree(proposed([narrow], options), wide)


def _sequences() -> Iterator[bytes]:
    """What can stand at each place of a UTF-8 sequence, one byte for each range that is treated alike."""
    alike = bytes.fromhex("00 22 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
    for length in range(5):
        yield from (
            map(bytes, product(alike, repeat=length))
            if length < 4
            else (
                bytes((first, *rest)) for first in (0xE1, 0xED, 0xF0, 0xF1, 0xF4) for rest in product(alike, repeat=3)
            )
        )


@needs_native
@pytest.mark.parametrize(
    ("nul", "utf8"),
    [
        ("reject", "reject"),
        ("strip", "replace"),
        *(
            pytest.param(nul, utf8, marks=pytest.mark.slow)
            for nul, utf8 in (("reject", "replace"), ("strip", "reject"), ("replace", "reject"), ("replace", "replace"))
        ),
    ],
)
def test_they_agree_on_broken_utf8(nul: str, utf8: str) -> None:
    page = b"".join(inner(element(2, "v", text(sequence))) for sequence in _sequences())
    for type_ in (ColumnType.TEXT, ColumnType.JSON):
        assert_agree(column_of(type_, Kind.STRING, nul=nul, utf8=utf8), page, limit=10**6)


@needs_native
@given(st.text(max_size=40), st.text(max_size=40))
def test_they_agree_on_text_of_any_length(one: str, other: str) -> None:
    content = (one + other).encode(errors="surrogatepass")
    for type_ in (ColumnType.TEXT, ColumnType.JSON):
        assert_agree(column_of(type_, Kind.STRING), inner(element(2, "v", text(content))))


@needs_native
@given(bits=st.lists(st.one_of(st.binary(min_size=8, max_size=8), st.floats().map(lambda x: struct.pack("<d", x)))))
def test_they_agree_on_doubles(bits: list[bytes]) -> None:
    values = inner(element(4, "v", inner(*(element(1, "0", value) for value in bits))))
    assert_agree(column_of(ColumnType.JSON), values)
    assert_agree(column_of(ColumnType.NUMERIC, Kind.DOUBLE, array=True), values)
    assert_agree(column_of(ColumnType.TEXT, Kind.DOUBLE, array=True), values)


@needs_native
def test_they_agree_on_doubles_between_powers() -> None:
    powers = [2.0**exponent for exponent in range(-1074, 1024)] + [
        float(f"1e{exponent}") for exponent in range(-323, 309)
    ]
    values = b"".join(
        struct.pack("<q", struct.unpack("<q", struct.pack("<d", power))[0] + step)
        for power in powers
        for step in (-1, 0, 1)
    )
    elements = (element(1, "0", values[at : at + 8]) for at in range(0, len(values), 8))
    batch = inner(element(4, "v", inner(*elements)))
    assert_agree(column_of(ColumnType.JSON), batch)
    assert_agree(column_of(ColumnType.NUMERIC, Kind.DOUBLE, array=True), batch)


@needs_native
@given(bits=st.lists(st.binary(min_size=16, max_size=16)))
def test_they_agree_on_decimals(bits: list[bytes]) -> None:
    values = inner(element(4, "v", inner(*(element(0x13, "0", value) for value in bits))))
    assert_agree(column_of(ColumnType.JSON), values)
    assert_agree(column_of(ColumnType.NUMERIC, Kind.DECIMAL128, array=True), values)


@needs_native
@given(numbers=st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-(10**14), 10**14))))
def test_they_agree_on_integers_and_dates(numbers: list[int]) -> None:
    for kind, type_ in ((0x12, ColumnType.NUMERIC), (9, ColumnType.TEXT), (9, ColumnType.TIMESTAMPTZ)):
        values = inner(element(4, "v", inner(*(element(kind, "0", struct.pack("<q", number)) for number in numbers))))
        assert_agree(column_of(ColumnType.JSON), values)
        assert_agree(column_of(type_, Kind(kind), array=True, date_range="clamp"), values)


@needs_native
@pytest.mark.parametrize("length", range(40))
def test_they_agree_on_binaries_of_every_length(length: int) -> None:
    payload = struct.pack("<iB", length, 0) + bytes(range(200, 200 + length))
    for type_ in (ColumnType.JSON, ColumnType.TEXT, ColumnType.BYTEA):
        assert_agree(column_of(type_, Kind.BINARY), inner(element(5, "v", payload)))


@needs_native
@pytest.mark.parametrize("depth", [199, 200, 201])
def test_they_agree_on_the_deepest_nesting(depth: int) -> None:
    value = element(8, "x", b"\1")
    for number in range(depth):
        value = element(3 + number % 2, "v", inner(value))
    assert_agree(column_of(ColumnType.JSON), inner(value))


@needs_native
@pytest.mark.parametrize("size", [250, 260, 270, 2590, 2600, 2601, 2610])
def test_they_agree_on_how_long_a_key_may_be(size: int) -> None:
    for key in ("k" * size, {"k": "é" * (size // 2 - 20)}, {"k": ['"', True, None, -1.5, {}] * (size // 40)}):
        raw = bson.encode({"_id": key})
        assert_agree(proposed([raw], MappingOptions()), raw)


@needs_native
def test_batches_that_grow_beyond_what_was_expected_are_whole() -> None:
    short = inner(element(2, "v", text("a")))
    long = inner(element(2, "v", text(b"\1" * 200_000)))
    plain, native = both_converters(column_of(ColumnType.JSON)) or (None, None)
    assert plain is not None and native is not None  # noqa: PT018
    for batch in (short * 1000, long, b"", short, long * 3):
        assert outcome(native, batch) == outcome(plain, batch)


@needs_native
def test_converters_of_several_threads_do_not_meet() -> None:
    batch = b"".join(UserPages(1).documents(0, 20_000))
    mapping = column_of(ColumnType.JSON, overflow="overflow")
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(lambda _: outcome(make_converter(mapping, "native"), batch, 0, 20_000), range(4)))
    assert all(result == results[0] for result in results)


@needs_native
def test_an_offset_before_the_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        make_converter(Mapping(columns=(ID,)), "native").convert(inner(), -1, 1)


OUT_OF_MEMORY = """
import resource
from pathlib import Path
from engine.convert import make_converter
from engine.mapping.model import Column, ColumnType, Mapping, Role
from tests.corpus.case import element, inner, text

key = Column(name="_id", type=ColumnType.JSON, role=Role.ID, path=("_id",))
value = Column(name="v", type=ColumnType.JSON, path=("v",))
converter = make_converter(Mapping(columns=(key, value)), "native")
id_and = lambda content: inner(element(10, "_id"), element(2, "v", text(content)))
small, large = id_and(b"a"), id_and(b"\\1" * 20_000_000)
in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 90_000_000, resource.RLIM_INFINITY))
try:
    converter.convert(large, 0, 1)
except MemoryError:
    print(converter.convert(small, 0, 1).n_read)
"""


@needs_native
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space of a process")
def test_running_out_of_memory_is_an_error_and_nothing_worse() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (0, "1\n"), finished.stderr
