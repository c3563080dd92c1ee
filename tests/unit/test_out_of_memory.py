"""What a worker takes for a lack of memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
from bson.errors import InvalidBSON

from engine.work.worker import NO_THREAD, is_out_of_memory

DECODE_WITH_LITTLE = """
import resource
import bson
from engine.work.worker import is_out_of_memory
batch = bson.encode({"texts": ["x" * (14 << 20), "y" * (14 << 20)]})
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (8 << 20), taken + (8 << 20)))
kept = []
try:
    while True:  # what was free before counts as well
        kept.append(bytearray(1 << 20))
except MemoryError:
    kept.pop()
try:
    bson.decode(batch)
except Exception as error:
    print(is_out_of_memory(error))
"""


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (MemoryError(), True),
        (RuntimeError(NO_THREAD), True),
        (RuntimeError("else"), False),
        (InvalidBSON("invalid length or type code"), False),
    ],
    ids=repr,
)
def test_what_is_taken_for_a_lack_of_memory(error: Exception, is_so: bool) -> None:
    assert is_out_of_memory(error) is is_so


@pytest.mark.skipif(sys.platform != "linux", reason="reads proc(5)")
def test_what_the_driver_makes_of_a_lack_of_memory_is_taken_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", DECODE_WITH_LITTLE], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
