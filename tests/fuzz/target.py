"""What libFuzzer calls: one input through both converters and censuses, under the sanitizers (`python -m tests.fuzz`)."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path

import atheris

from engine.convert.census import make_counter
from engine.mapping.census import Census
from tests.agreement import census_outcome, outcome
from tests.fuzz import EXTENSIONS
from tests.fuzz.batches import HEADER, batch_of, converters


def use_extension(path: Path) -> None:
    """Make a sanitized build what this process takes for the module of its name."""
    name = f"engine.convert.{path.stem}"
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
        expected, given = outcome(plain, batch, 0, limit), outcome(native, exactly(batch), 0, limit)
        if expected != given:
            raise AssertionError(f"the converters disagree on mapping {number % len(pairs)}, batch {batch.hex()}")

        levels = way // 4 % 3
        counted = census_outcome(Census(levels), batch), census_outcome(make_counter(levels, "native"), exactly(batch))
        if counted[0] != counted[1]:
            raise AssertionError(f"the censuses disagree on {levels} levels, batch {batch.hex()}")

    atheris.Setup(sys.argv, convert)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
