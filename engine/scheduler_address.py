"""How the scheduler of a cluster is named: `tls://host:8786`, `tcp://host:8786`, a scheduler file, or `local:2x4`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.errors import UsageError
from engine.tls import is_local

EXAMPLES = "tls://host:8786, tcp://host:8786, a scheduler file, or local:2x4"
MOST_LOCAL = 128
"""Members of a `local:` cluster."""
_ADDRESS = re.compile(r"(tls|tcp)://(\[[0-9a-fA-F:.%]+\]|[^\s:/@?#\[\]]+):(\d{1,5})/?")
_LOCAL = re.compile(r"local:(\d{1,4})x(\d{1,4})")


@dataclass(frozen=True, slots=True)
class SchedulerAddress:
    """One of: an address, a file that has one, or a cluster to be started on this host."""

    address: str = ""
    host: str = ""
    file: str = ""
    hosts: int = 0
    """Of a cluster to be started on this one."""
    slots: int = 0
    """Of each."""

    @property
    def is_private(self) -> bool:
        """What is sent there cannot be read or forged in a network."""
        return self.address.startswith("tls://") or is_local(self.host)


def read_address(text: str) -> SchedulerAddress:
    """What `dask.scheduler` names; anything that is neither an address nor `local:` is a file.

    Raises:
        UsageError: it is neither.
    """
    text = text.strip()
    if found := _LOCAL.fullmatch(text):
        hosts, slots = int(found[1]), int(found[2])
        if not 1 <= hosts * slots <= MOST_LOCAL:
            raise UsageError(f"local:{hosts}x{slots} must have between 1 and {MOST_LOCAL} slots, hosts times slots.")
        return SchedulerAddress(hosts=hosts, slots=slots)
    if found := _ADDRESS.fullmatch(text):
        if not 0 < int(found[3]) < 65_536:
            raise UsageError("its port must be between 1 and 65535.")
        return SchedulerAddress(address=text.rstrip("/"), host=found[2].strip("[]"))
    if not text or "://" in text or text.startswith("local:"):
        raise UsageError(f"it must be {EXAMPLES}.")
    return SchedulerAddress(file=text)
