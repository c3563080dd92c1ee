"""What libFuzzer calls: one input through both converters, under the sanitizers. Run by `python -m tests.fuzz`."""

from __future__ import annotations

import ctypes
import importlib.util
import sys

import atheris

from tests.agreement import outcome
from tests.fuzz.batches import HEADER, batch_of, converters


def use_extension(path: str) -> None:
    """Make the sanitized build the native converter of this process."""
    name = "engine.convert.native"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def exactly(batch: bytes) -> ctypes.Array[ctypes.c_ubyte]:
    """The batch in memory of its own size: a bytes object has a NUL behind it that hides a read too far."""
    return (ctypes.c_ubyte * len(batch)).from_buffer_copy(batch)


def main() -> None:
    """`target.py EXTENSION`, then libFuzzer's own arguments."""
    use_extension(sys.argv.pop(1))
    pairs = converters()

    def convert(content: bytes) -> None:
        if len(content) < HEADER.size:
            return
        number, way = HEADER.unpack_from(content)
        plain, native = pairs[number % len(pairs)]
        batch = batch_of(way % 4, content[HEADER.size :])
        limit = 2 if way & 0x80 else 1000
        expected, given = outcome(plain, batch, 0, limit), outcome(native, exactly(batch), 0, limit)
        if expected != given:
            raise AssertionError(f"the converters disagree on mapping {number % len(pairs)}, batch {batch.hex()}")

    atheris.Setup(sys.argv, convert)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
