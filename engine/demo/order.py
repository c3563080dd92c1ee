"""What the process that starts servers tells their keeper."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """One pair of servers to start. It holds no secret: it is the keeper's argument, which every user can read."""

    folder: str
    """Its lock is held by the process that orders, and handed to the keeper as an open descriptor."""
    fresh: bool
    """Nothing was in the folder: after a failed start it is removed even if it was to be kept."""
    kept: bool
    """The servers outlive their owner, the data outlive the servers."""
    test_commands: bool
    """MongoDB accepts `failCommand`."""
    mongod: str
    initdb: str
    postgres: str

    def to_json(self) -> str:
        """The order as the keeper's argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, argument: str) -> Order:
        """The order that `to_json` wrote."""
        return cls(**json.loads(argument))
