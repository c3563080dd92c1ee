"""What came of one file of a specification."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """Counts, and a line for each that does not hold."""

    file: str
    held: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, what: str, wrong: str) -> None:
        """One test of the file: `wrong` is empty when it holds."""
        if wrong:
            self.failures.append(f"{what}: {wrong}")
        else:
            self.held += 1
