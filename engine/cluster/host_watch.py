"""What becomes of the hosts of a cluster, as events: they join, leave, or take no workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.cluster.crew import Host
from engine.protocol import HostChanged


class HostWatch:
    """Compares the hosts with those of the last look."""

    def __init__(self) -> None:
        self._known: dict[str, Host] = {}

    def look(self, hosts: Sequence[Host]) -> Iterator[HostChanged]:
        """What has changed since the last look."""
        # One that says neither what it has nor why it takes none has not answered yet, and has no name of its own.
        now = {host.name: host for host in hosts if host.version or host.problem}
        before, self._known = self._known, now
        for name in before.keys() - now.keys():
            yield HostChanged(host=name, what="left")
        for name, host in now.items():
            had = before.get(name)
            if host.problem:
                if had is None or had.problem != host.problem:
                    yield HostChanged(host=name, what="refused", slots=host.slots, message=host.problem)
            elif had is None or had.problem:
                yield HostChanged(host=name, what="joined", slots=host.slots)
