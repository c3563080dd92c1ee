"""`python -m tests.fuzz --seconds 1200`: build the native converter and census with sanitizers, and fuzz them."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.fuzz import EXTENSIONS

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
CORPUS, FINDINGS = BUILD / "corpus", BUILD / "findings"

FLAGS = [
    "-shared", "-fPIC", "-g", "-O1", "-fno-omit-frame-pointer", "-fwrapv",
    "-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=undefined",
    # Buffers exactly as large as asked for, so that a byte written too many is seen.
    "-DNATIVE_TIGHT_BUFFERS=1",
]  # fmt: skip
ASAN_OPTIONS = {
    "detect_leaks": 0,  # Python keeps what it allocates at its start
    "allocator_may_return_null": 1,  # a request for too much is a MemoryError, not a crash
    # All objects of Python go through the sanitizer's allocator: what it does for each of them has to be cheap.
    "malloc_context_size": 2,
    "max_malloc_fill_size": 64,
    "quarantine_size_mb": 16,
}
LONGEST_INPUT = 400
TIMEOUT_S = 20
MEMORY_MB = 4096


def main() -> int:
    """Build, fuzz, and say what was found; the exit code is libFuzzer's, 0 when nothing was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=1200, help="how long to fuzz (default: %(default)s)")
    parser.add_argument("--input", type=Path, help="run this one input again instead, such as a finding")
    arguments = parser.parse_args()
    if shutil.which("clang") is None or importlib.util.find_spec("atheris") is None:
        sys.exit("Fuzzing needs clang and the package atheris (Linux, CPython 3.11 to 3.13): see tests/fuzz/README.md.")
    build()
    command = [sys.executable, "-m", "tests.fuzz.target", str(BUILD)]
    if arguments.input:
        command.append(str(arguments.input))
    else:
        write_seeds()
        command += [
            str(CORPUS), f"-artifact_prefix={FINDINGS}/", f"-max_total_time={arguments.seconds}",
            f"-max_len={LONGEST_INPUT}", f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={MEMORY_MB}", "-print_final_stats=1",
        ]  # fmt: skip
    code = subprocess.run(command, cwd=ROOT, env=sanitized_environment(), check=False).returncode
    if not arguments.input:
        findings = sorted(FINDINGS.iterdir())
        print(f"{len(findings)} findings" + "".join(f"\n  {path}" for path in findings))
    return code


def build() -> None:
    """The extensions with sanitizers and coverage, in a folder of their own."""
    for folder in (CORPUS, FINDINGS):
        folder.mkdir(parents=True, exist_ok=True)
    for name in EXTENSIONS:
        source = BUILD / f"{name}.c"
        run([sys.executable, "-m", "cython", "-3", f"engine/convert/{name}.pyx", "-o", str(source)])
        run(["clang", *FLAGS, f"-I{sysconfig.get_path('include')}", str(source), "-o", str(source.with_suffix(".so"))])


def write_seeds() -> None:
    """The inputs to begin with."""
    from tests.fuzz.batches import seeds

    for number, content in enumerate(seeds()):
        (CORPUS / f"seed-{number:04d}").write_bytes(content)


def sanitized_environment() -> dict[str, str]:
    """What the sanitizers need to look inside Python."""
    import atheris

    return os.environ | {
        "LD_PRELOAD": str(Path(atheris.path()) / "asan_with_fuzzer.so"),
        "ASAN_OPTIONS": ",".join(f"{name}={value}" for name, value in ASAN_OPTIONS.items()),
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Every object in memory of its own, with forbidden bytes around it.
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(ROOT),
    }


def run(command: list[str]) -> None:
    """A step of the build, whose own message is the best there is when it fails."""
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"{command[0]} failed")


if __name__ == "__main__":
    sys.exit(main())
