"""Where workers come from, by the settings: this host, or a Dask cluster."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from engine.cluster.crew import Crew, CrewEvents, MakeCrew
from engine.cluster.dask_process import DaskProcess
from engine.cluster.local import LocalCrew
from engine.config import DaskSettings, Settings
from engine.errors import MigrationError, UsageError
from engine.scheduler_address import SchedulerAddress, read_address

if TYPE_CHECKING:
    from engine.cluster.dask_crew import DaskCrew
    from engine.cluster.dask_site import DaskSite


class Crews:
    """Makes them for an engine, and keeps what they share."""

    def __init__(self) -> None:
        self._sites: dict[DaskSettings, DaskSite] = {}

    def of(self, settings: Settings) -> MakeCrew:
        """What makes crews as `[cluster]` says; it raises UsageError where the settings do not do, or an extra is missing."""
        return LocalCrew if settings.cluster.kind == "local" else lambda events: self._on_dask(events, settings.dask)

    async def close(self) -> None:
        """Disconnect from clusters."""
        for site in self._sites.values():
            await site.close()
        self._sites.clear()

    def _on_dask(self, events: CrewEvents, settings: DaskSettings) -> Crew:
        given = read_address(settings.scheduler) if settings.scheduler else SchedulerAddress()
        is_new = settings not in self._sites and given.slots > 0 and find_spec("distributed") is not None
        process = _started(given) if is_new else None  # it imports Dask while we do
        crew, site = _dask()
        if settings not in self._sites:
            self._sites[settings] = site(settings, process)
        return crew(events, self._sites[settings])


async def look_at_cluster(settings: Settings) -> tuple[int, int]:
    """How many hosts the Dask cluster of the settings has, and how many slots all of them together.

    Raises:
        UsageError: the settings do not do, or an extra is missing. ConnectError: its scheduler does not answer.
    """
    _, make_site = _dask()
    site = make_site(settings.dask)
    try:
        return await site.size()
    finally:
        await site.close()


def _started(given: SchedulerAddress) -> DaskProcess:
    try:
        return DaskProcess(given.hosts, given.slots)
    except OSError as error:
        raise MigrationError(
            f"The Dask cluster on this host cannot be started ({error.strerror or type(error).__name__}): free memory or "
            "processes here, or name another cluster in dask.scheduler.",
            code="dask",
        ) from error


def _dask() -> tuple[type[DaskCrew], type[DaskSite]]:
    try:  # an extra, which other runs need not have, and which takes time to import
        from engine.cluster.dask_crew import DaskCrew
        from engine.cluster.dask_site import DaskSite
    except ImportError as error:
        raise UsageError(
            f"A Dask cluster needs the extra dask ({error.name} is missing): pip install 'mongopg-tui[dask]'."
        ) from error
    return DaskCrew, DaskSite
