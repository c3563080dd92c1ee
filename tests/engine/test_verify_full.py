"""Full verification on real servers: what differs is found and named, what is the same is left in peace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.control import protocol
from engine.control.protocol import Verification, VerifyReport
from tests.running import Engine, Engines, add_users

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 3_000


async def verified(engine: Engine, **command: Any) -> VerifyReport:
    """A full verification of the newest run."""
    return await engine.client.ask(VerifyReport, protocol.Verify(level="full", **command))


async def test_a_good_run_is_found_good(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine, _ = await engines.run()

    report = await verified(engine)

    assert report.result is Verification.VERIFIED
    [table] = report.tables
    assert (table.equal, table.different, table.missing, table.extra, table.kept) == (USERS, 0, 0, 0, 0)
    assert table.slices > 0
    assert table.slices_changed == 0
    assert report.differences == []


async def test_every_kind_of_difference_is_found(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine, _ = await engines.run()
    ids = [row["_id"] for row in target.rows("SELECT _id FROM users ORDER BY _id LIMIT 3")]
    target.execute("UPDATE users SET username = 'somebody' WHERE _id = $1", ids[0])
    target.execute("DELETE FROM users WHERE _id = $1", ids[1])
    target.execute("INSERT INTO users (_id, username) VALUES ('planted', 'nobody')")

    report = await verified(engine)

    assert report.result is Verification.MISMATCH
    [table] = report.tables
    assert (table.equal, table.different, table.missing, table.extra) == (USERS - 2, 1, 1, 1)
    by_kind = {each.kind: each for each in report.differences}
    assert by_kind["different"].field == "username"
    assert by_kind["different"].target == "somebody"
    assert by_kind["different"].id == f'{{"$oid": "{ids[0]}"}}'
    assert by_kind["missing"].id == f'{{"$oid": "{ids[1]}"}}'
    assert by_kind["extra"].id == "planted"
