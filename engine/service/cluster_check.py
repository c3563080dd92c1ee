"""Whether the cluster that a run would have its workers on can be reached, for its preflight."""

from __future__ import annotations

from engine.cluster.crews import look_at_cluster
from engine.config import Settings
from engine.errors import MigrationError
from engine.plurals import counted
from engine.protocol import CheckStatus, CheckView, PreflightReport

_ORDER: tuple[CheckStatus, ...] = ("ok", "warning", "stop")


async def with_cluster(report: PreflightReport, settings: Settings) -> PreflightReport:
    """The report with a line about the cluster; as it is where workers run on this host."""
    if settings.cluster.kind == "local":
        return report
    try:
        hosts, slots = await look_at_cluster(settings)
    except MigrationError as error:
        check = CheckView(what="cluster", status="stop", message=error.message, code=error.code)
    else:
        check = _check_of(hosts, slots, settings)
    status = max(report.status, check.status, key=_ORDER.index)
    return report.model_copy(update={"checks": [*report.checks, check], "status": status})


def _check_of(hosts: int, slots: int, settings: Settings) -> CheckView:
    wanted = settings.run.workers
    found = f"The Dask cluster has {counted(hosts, 'worker')} with {counted(slots, 'slot')}"
    if slots >= wanted:
        return CheckView(what="cluster", status="ok", message=f"{found}.")
    more = "it will be asked for more" if settings.dask.scale else "more are used as they come"
    return CheckView(
        what="cluster", status="warning", message=f"{found}, and {counted(wanted, 'is', 'are')} wanted: {more}."
    )
