"""`python -m tests.bench.cockpit`: each part prints its figures; tests/bench/README.md says what they are. Linux only."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.bench.cockpit import keys, limits, paint, process
from tests.bench.cockpit.stage import Stage, stage

PARTS = ("paint", "keys", "core", "memory", "seconds")


def main() -> None:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cockpit", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all but memory when none is named")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[16, 128], help="memory, keys, seconds: the first one"
    )
    parser.add_argument("--presses", type=int, default=400)
    parser.add_argument("--starts", type=int, default=10, help="of the program, for paint")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement of core")
    parser.add_argument("--minutes", type=float, default=15.0, help="of memory")
    parser.add_argument("--pairs", type=int, default=5, help="of runs, for seconds")
    parser.add_argument("--data", type=Path, help="folder where the servers keep their data for the next time")
    parser.add_argument("--dask", default="", help="workers on a Dask cluster, such as local:4x16, for core and keys")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"{part!r} is none of {', '.join(PARTS)}")
    with stage(options.documents, options.data, options.dask) as ready:
        for part in options.parts or [part for part in PARTS if part != "memory"]:
            _measure(ready, part, options)


def _measure(ready: Stage, part: str, options: argparse.Namespace) -> None:
    workers = options.workers[0]
    match part:
        case "paint":
            painted, helped = paint.first_paints(ready, options.starts), paint.helps(options.starts)
            _say(limits.judged_seconds(paint.words("first paint", painted), painted, limits.PAINT_S))
            _say(limits.judged_seconds(paint.words("--help", helped), helped, limits.HELP_S))
        case "keys":
            for line in keys.words(*keys.key_delays(ready, workers, options.presses)):
                _say(line)
        case "core":
            for size in options.workers:
                share, growth_mib, others = process.share_of_a_core(ready, size, options.seconds)
                figures = (
                    f"{size} workers: {share:.1%} of a core, memory {growth_mib:+.1f} MiB in {options.seconds:.0f} s"
                )
                _say(limits.judged_core(figures, share, size))
                others_words = ", ".join(f"{role} {spent:.1%}" for role, spent in others.items())
                _say(limits.judged_engine(f"  of a core: {others_words}", others.get("engine", 0.0), size))
        case "memory":
            _say(limits.judged_memory(process.memory(ready, workers, options.minutes, _say)))
        case "seconds":
            extra = process.share_of_a_run(ready, workers, options.pairs, _say)
            figures = f"{options.documents:,} documents: the cockpit makes a run {extra:+.1%} longer, median of {options.pairs}"
            _say(limits.judged_run(figures, extra))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
