"""What a soak counted and measured: as a table for people, and as one JSON object."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any

REPLACED_WITHIN_S = 1.0
"""From the kill of a worker until another has its partition."""
COMMITS_WITHIN_S = 5.0
"""From a server's return until the first commit."""
ENOUGH = 5
"""Of so few measurements, or fewer, no median is judged."""


@dataclass(slots=True)
class Figures:
    """Sums over all runs of a soak."""

    seed: int
    documents: int
    seconds: float = 0.0
    runs: int = 0
    attempts: int = 0
    """Engines that were started; each beyond a run's first one resumed it."""
    rows: int = 0
    lost: int = 0
    duplicated: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    """Kill cycles: a process of ours, or all of them, ended by SIGKILL, and what followed."""
    cuts: int = 0
    """Connections cut, stalled or ended, and answers to COMMIT that were swallowed."""
    restarts: int = 0
    """Of either server, after a kill, an immediate stop or a crash."""
    ends: Counter[str] = field(default_factory=Counter)
    """How engines ended."""
    modes: Counter[str] = field(default_factory=Counter)
    verified: int = 0
    """Runs that were compared by the program's own full verification, too."""
    followed: int = 0
    """Runs that followed their source, which was written to meanwhile, and were cut over."""
    seeds: int = 0
    """Collections of such runs, each with random changes from a seed of its own."""
    changes: int = 0
    """Operations on them."""
    wrong: int = 0
    """Rows of theirs that are not their documents, behind the cut-over."""
    left_over: int = 0
    """Rows without a document, and rejects that are none any more."""
    called_off: int = 0
    """Cut-overs that were called off, as by a server that was away, and done later."""
    forgotten: int = 0
    """Runs begun anew, for the server had forgotten the moment at which they read."""
    replaced_s: list[float] = field(default_factory=list)
    recovered_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def resumes(self) -> int:
        """Engines that went on with a run."""
        return self.attempts - self.runs - self.forgotten

    def recovered(self, server: str, seconds: float) -> None:
        """A server returned, and so long after it the run committed again."""
        self.recovered_s.setdefault(server, []).append(seconds)

    @property
    def missed(self) -> list[str]:
        """What usually took longer than it may. One that did is no failure: the machine may be busy."""
        measured = {"worker replaced": (self.replaced_s, REPLACED_WITHIN_S)} | {
            f"commits after {server}": (found, COMMITS_WITHIN_S) for server, found in sorted(self.recovered_s.items())
        }
        return [what for what, (found, limit_s) in measured.items() if is_missed(found, limit_s)]

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "seed": self.seed,
            "documents": self.documents,
            "seconds": round(self.seconds, 1),
            "runs": self.runs,
            "resumes": self.resumes,
            "kill_cycles": self.kills,
            "cuts": self.cuts,
            "restarts": self.restarts,
            "rows": self.rows,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "faults": dict(sorted(self.faults.items())),
            "engines_ended": dict(sorted(self.ends.items())),
            "modes": dict(sorted(self.modes.items())),
            "fully_verified": self.verified,
            "followed": self.followed,
            "seeds": self.seeds,
            "changes": self.changes,
            "wrong": self.wrong,
            "left_over": self.left_over,
            "called_off": self.called_off,
            "moments_forgotten": self.forgotten,
            "worker_replaced": _spread(self.replaced_s, REPLACED_WITHIN_S),
            "commits_after_return": {
                server: _spread(found, COMMITS_WITHIN_S) for server, found in sorted(self.recovered_s.items())
            },
            "missed": self.missed,
        }

    def as_table(self) -> str:
        """For people."""
        lines = [
            ("seed", str(self.seed)),
            ("time", f"{self.seconds / 60:.1f} min"),
            ("runs", f"{self.runs:,} of {self.documents:,} documents: {_counted(self.modes)}"),
            ("kill cycles", f"{self.kills:,}"),
            ("connections cut", f"{self.cuts:,}"),
            ("servers restarted", f"{self.restarts:,}"),
            ("resumes", f"{self.resumes:,}"),
            ("rows moved", f"{self.rows:,}"),
            ("lost", f"{self.lost:,}"),
            ("duplicated", f"{self.duplicated:,}"),
            ("faults", _counted(self.faults)),
            ("engines ended", _counted(self.ends)),
            ("fully verified", f"{self.verified:,} runs"),
            ("followed", f"{self.followed:,} runs, {self.called_off:,} cut-overs called off and done later"),
            ("seeds of changes", f"{self.seeds:,}, {self.changes:,} operations"),
            ("wrong", f"{self.wrong:,}"),
            ("left over", f"{self.left_over:,}"),
            ("moments forgotten", f"{self.forgotten:,}"),
            ("worker replaced", _in_words(self.replaced_s, REPLACED_WITHIN_S)),
        ]
        lines += [
            (f"commits after {server}", _in_words(found, COMMITS_WITHIN_S))
            for server, found in sorted(self.recovered_s.items())
        ]
        return "\n".join(f"{name:<26}{value}" for name, value in lines)


def is_missed(found: list[float], limit_s: float) -> bool:
    """More than half of the measurements, and there are enough of them, are above the limit."""
    return len(found) > ENOUGH and median(found) > limit_s


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


def _spread(found: list[float], limit_s: float) -> dict[str, float | int]:
    if not found:
        return {"n": 0}
    return {
        "n": len(found),
        "median_s": round(median(found), 3),
        "p95_s": round(sorted(found)[int(0.95 * (len(found) - 1))], 3),
        "longest_s": round(max(found), 3),
        "limit_s": limit_s,
        "within": sum(each <= limit_s for each in found),
    }


def _in_words(found: list[float], limit_s: float) -> str:
    spread = _spread(found, limit_s)
    if not found:
        return "not measured"
    return (
        f"median {spread['median_s']:.2f} s, p95 {spread['p95_s']:.2f} s, longest {spread['longest_s']:.2f} s; "
        f"{spread['within'] / spread['n']:.0%} of {spread['n']} within {limit_s:g} s"
        f"{': MISSED' if is_missed(found, limit_s) else ''}"
    )
