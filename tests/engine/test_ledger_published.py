"""A database whose tables are published: the ledger takes part, so each of its tables has a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.ledger import earlier_runs, runs
from engine.mapping.model import Column, ColumnType, Mapping, Role
from tests.engine.target_tools import RUN, USERS, Bench, bench, key, piece, pieces

if TYPE_CHECKING:
    from tests.conftest import Target

WITHOUT_KEY = """
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'mongopg'::regnamespace AND c.relkind = 'r'
    AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)
"""

MAPPING = Mapping(columns=(Column(name="_id", type=ColumnType.TEXT, role=Role.ID),))


async def write_rows(made: Bench) -> None:
    """Two rows of the run."""
    await made.connection.execute("UPDATE mongopg.table_load SET mapping = $1", MAPPING.model_dump_json())
    writer = made.writer()
    await writer.begin(0, 0, None, True)
    await writer.write_page(pieces(piece([("a", 1), ("b", 2)])))
    await writer.commit(key("b"), final=True)


@pytest.mark.parametrize("published", ["ALL TABLES", "TABLES IN SCHEMA mongopg"])
async def test_a_ledger_that_is_published_is_made_and_changed(target: Target, published: str) -> None:
    target.execute(f"CREATE SCHEMA mongopg; CREATE PUBLICATION everything FOR {published}")
    async with bench(target.uri) as made:
        await write_rows(made)
        await runs.set_state(made.connection, RUN, 1, "completed", ended=True)
        await runs.discard(made.connection, RUN)
    assert target.rows(WITHOUT_KEY) == []


async def test_the_ledger_goes_on_knowing_what_a_discarded_run_wrote_while_its_table_stays(target: Target) -> None:
    async with bench(target.uri) as made:
        await write_rows(made)
        known = await earlier_runs.mappings_of(made.connection, USERS)
        assert [each.run_id for each in known] == [RUN]
        await runs.discard(made.connection, RUN)
        target.execute(f"ALTER TABLE {USERS.sql} RENAME TO people")
        assert await earlier_runs.mappings_of(made.connection, USERS) == ()
        target.execute(f"ALTER TABLE people RENAME TO {USERS.table}")
        assert await earlier_runs.mappings_of(made.connection, USERS) == known
