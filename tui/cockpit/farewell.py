"""What the cockpit prints once the terminal is the shell's again."""

from __future__ import annotations

from engine.protocol import RunState, Snapshot
from tui.cockpit.session import EngineSession
from tui.words.follow import since_copy_words
from tui.words.format import counted, duration, number
from tui.words.run_status import resume_until, state_words, verification_words, worked_s
from tui.words.safe import safe


def farewell(session: EngineSession, *, run_goes_on: bool) -> str:
    """One or two lines about the run; nothing when there was none."""
    snapshot = session.snapshot
    run_id = safe(snapshot.run_id, 40)
    if run_goes_on:
        return f"Run {run_id} continues. Come back with: mongopg-tui attach {run_id}\n"
    if session.is_lost:
        return (
            f"The engine of run {run_id} ended before the run was over.\n"
            f"Its log: {safe(str(session.log_path()), 300)}\n"
            + (f"Resume it with: {_resume(session)}\n" if _can_be_resumed(session) else "")
        )
    if snapshot.state is RunState.IDLE:
        return ""
    lines = [
        f"Run {run_id} {state_words(snapshot.state.value)} in {duration(worked_s(snapshot))}: {_counts(snapshot)}."
    ]
    if snapshot.error is not None:
        lines.append(safe(snapshot.error.message, 1_000))
    if session.is_on_passing_servers:
        return "\n".join(lines) + "\n"
    if snapshot.state in {RunState.CANCELLED, RunState.FAILED} and snapshot.tables and _can_be_resumed(session):
        lines += [until for until in [resume_until(snapshot)] if until]
        lines.append(f"Resume it with: {_resume(session)}")
    lines += [f"The {side} server keeps running: {safe(uri, 300)}" for side, uri in session.servers.items()]
    return "\n".join(lines) + "\n"


def _resume(session: EngineSession) -> str:
    return session.command(f"run --resume {session.snapshot.run_id}", "source", "target")


def _can_be_resumed(session: EngineSession) -> bool:
    """Its servers stay, and it is in the ledger."""
    return not session.is_on_passing_servers and not session.is_deleted


def _counts(snapshot: Snapshot) -> str:
    if not snapshot.tables:
        return f"{counted(snapshot.seeded, 'document')} seeded"
    counts = f"{number(snapshot.read)} read = {number(snapshot.written)} written + {number(snapshot.rejected)} rejected"
    if since := since_copy_words(snapshot.follow):
        counts += f" {since}"
    if snapshot.verification.value == "none":
        return counts
    level, replaced = snapshot.verification_level, snapshot.replaced_since
    return f"{counts}, {verification_words(snapshot.verification.value, level, replaced=replaced)}"
