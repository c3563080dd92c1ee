"""The tables of a run are held again when the server has forgotten that they were: at any time that they are needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine import protocol
from engine.protocol import VerifyReport
from tests.running import Engines, add_users, advisory_locks, eventually

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 6_000
WITHIN_S = 30.0
END_HOLDER = """
SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND d.datname = current_database()
"""


async def test_a_verification_holds_its_tables_again_after_the_server_forgot_it(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine, _ = await engines.run()
    await eventually(lambda: not advisory_locks(target), WITHIN_S, lambda: advisory_locks(target))

    question = engine.client.ask(VerifyReport, protocol.Verify(run=engine.run_id, level="full"))
    verifying = asyncio.create_task(question)
    await eventually(lambda: advisory_locks(target), WITHIN_S, engine.account)
    await engine.set("throttle", 300)
    before = advisory_locks(target)
    target.execute(END_HOLDER)

    await eventually(lambda: advisory_locks(target) not in ([], before), WITHIN_S, lambda: advisory_locks(target))
    assert not verifying.done()
    await engine.set("throttle", 0)
    assert (await verifying).result.value == "verified"
