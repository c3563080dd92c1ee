"""What libFuzzer calls: one input through both converters and censuses, under the sanitizers (`python -m tests.fuzz`)."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris

from engine.convert.census import make_counter
from engine.mapping.census import Census
from tests.agreement import census_outcome, outcome
from tests.fuzz import EXTENSIONS
from tests.fuzz.batches import HEADER, batch_of, converters, offset_of

_LIBC = ctypes.CDLL(None)
_LIBC.malloc.argtypes, _LIBC.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
_LIBC.free.argtypes, _LIBC.free.restype = [ctypes.c_void_p], None


def use_extension(path: Path) -> None:
    """Make a sanitized build what this process takes for the module of its name."""
    name = f"engine.convert.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


@contextlib.contextmanager
def exactly(batch: bytes) -> Iterator[ctypes.Array[ctypes.c_ubyte]]:
    """The batch in memory of its own and of its size, whatever that is, with forbidden bytes around it.

    A bytes object has a NUL behind it that hides a read too far, and ctypes keeps few bytes inside its own object.
    """
    address = _LIBC.malloc(len(batch))
    try:
        ctypes.memmove(address, batch, len(batch))
        yield (ctypes.c_ubyte * len(batch)).from_address(address)
    finally:
        _LIBC.free(address)


def main() -> None:
    """`target.py FOLDER`, where the extensions are, then libFuzzer's own arguments."""
    folder = Path(sys.argv.pop(1))
    for name in EXTENSIONS:
        use_extension(folder / f"{name}.so")
    pairs = converters()

    def convert(content: bytes) -> None:
        if len(content) < HEADER.size:
            return
        number, way = HEADER.unpack_from(content)
        plain, native = pairs[number % len(pairs)]
        batch = batch_of(way % 4, content[HEADER.size :])
        limit = 2 if way & 0x80 else 1000
        offset = offset_of(way // 0x20 % 4, batch, content)
        expected = outcome(plain, batch, offset, limit)
        with exactly(batch) as memory:
            given = outcome(native, memory, offset, limit)
        where = f"batch {batch.hex()}, offset {offset}"
        if expected != given:
            raise AssertionError(f"the converters disagree on mapping {number % len(pairs)}, {where}")

        levels = way // 4 % 3
        expected_census = census_outcome(Census(levels), batch, offset)
        with exactly(batch) as memory:
            given_census = census_outcome(make_counter(levels, "native"), memory, offset)
        if expected_census != given_census:
            raise AssertionError(f"the censuses disagree on {levels} levels, {where}")

    atheris.Setup(sys.argv, convert)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
