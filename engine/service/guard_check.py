"""Which guards of a run can see what they are to look at, for its preflight: the servers are looked at once, as a run does."""

from __future__ import annotations

from engine.config import GuardSettings, Settings, source_uri
from engine.guards.governor import Level
from engine.guards.limits import OF_SOURCE, Finding, Hidden, Seen, findings
from engine.protocol import CheckStatus, CheckView, EditablePlan, PreflightReport
from engine.vitals.poller import look_once

APP_NAME = "mongopg-tui preflight"
_USUAL = GuardSettings()


async def with_guards(report: PreflightReport, settings: Settings, *, asks_source: bool = True) -> PreflightReport:
    """The report with a line about guards; as it is where there is no target to look at.

    Args:
        asks_source: MongoDB is looked at, too.
    """
    if report.target != "checked":
        return report
    guard = settings.guard
    needs_source = asks_source and any(each.name in OF_SOURCE for each in findings(guard, None))
    if not guard.on:
        check = CheckView(what="guards", status="warning", message="Guards are turned off (guard.on).")
    else:
        source = source_uri(settings) if needs_source else ""
        view = await look_once(source, settings.target.connection, APP_NAME, guard)
        check = check_of(guard, findings(guard, view))
    status: CheckStatus = "warning" if report.status == "ok" else report.status
    return report.model_copy(
        update={"checks": [*report.checks, check], "status": report.status if check.status == "ok" else status}
    )


async def plan_with_guards(plan: EditablePlan, settings: Settings, *, asks_source: bool) -> EditablePlan:
    """The plan, its preflight likewise."""
    if plan.preflight is None:
        return plan
    return plan.model_copy(update={"preflight": await with_guards(plan.preflight, settings, asks_source=asks_source)})


def check_of(guard: GuardSettings, found: list[Finding]) -> CheckView:
    """What there is to say of guards that have looked once."""
    seen = ", ".join(each.name for each in found if isinstance(each.found, Seen))
    past = [each.found for each in found if isinstance(each.found, Seen) and each.found.level is not Level.FINE]
    blind = [each for each in found if isinstance(each.found, Hidden)]
    said = [
        f"Guards can see what they look at: {seen}."
        if seen
        else "No guard sees anything."
        if found
        else "No guard is on."
    ]
    for each in blind:
        if isinstance(each.found, Hidden):
            remedy = f" As an administrator, run: {each.found.remedy}" if each.found.remedy else ""
            said.append(f"{each.name} cannot see, and does nothing: {each.found.why}{remedy}")
    if past:
        what = "paused" if past[0].level is Level.HARD else "slowed"
        said.append(f"A run that is started now would be {what} by its guards: {past[0].words}.")
    # That a disk is out of sight is usual, and nothing that was asked for.
    is_bad = past or any(each.name != "disk_free" or guard.disk_free != _USUAL.disk_free for each in blind)
    return CheckView(what="guards", status="warning" if is_bad else "ok", message=" ".join(said))
