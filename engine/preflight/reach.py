"""Whether a target can be reached, remembered while a plan is edited: one that swallows packets costs seconds to ask."""

from __future__ import annotations

from engine.errors import ConnectError
from engine.plan.looks import KnownLooks
from engine.protocol import PlanView


class TargetReach:
    """The target of a plan. Its being out of reach holds for edits; reading the source again asks it again."""

    def __init__(self, connection: str, looks: KnownLooks) -> None:
        """Nothing is asked.

        Args:
            connection: its connection string.
            looks: what is known while plans are edited.
        """
        self._connection = connection
        self._known = looks.out_of_reach

    def known_to_be_silent(self, *, again: bool) -> ConnectError | None:
        """Why it could not be reached; None when it is to be asked.

        Args:
            again: it is to be asked whatever is known.
        """
        why = None if again else self._known.get(self._connection)
        return ConnectError(why) if why is not None else None

    def learn(self, plan: PlanView) -> None:
        """What the preflight of a plan found."""
        report = plan.preflight
        self._known.pop(self._connection, None)
        if report is not None and report.target == "unreachable":
            why = next((check.message for check in report.checks if check.what == "target"), "")
            self._known[self._connection] = why
