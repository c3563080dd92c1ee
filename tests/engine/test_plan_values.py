"""Values that a plan line or a table turns into something else than the proposal would: whole doubles, vectors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bson import Binary, Int64

from engine.errors import EXIT_DONE
from tests.engine.test_plan_runs import edited, saved_plan
from tests.engine.verification_tools import only, verified
from tests.running import Engines

if TYPE_CHECKING:
    from tests.conftest import Source, Target


async def test_doubles_that_are_whole_can_be_planned_as_bigint(
    source: Source, target: Target, engines: Engines
) -> None:
    numbers = [1.0, 2.0**53, -(2.0**63), 2.0**60, 0.5, float("nan"), 2.0**63, 7]
    source.db.items.insert_many([{"_id": float(number), "n": value} for number, value in enumerate(numbers)])
    plan = edited(
        await saved_plan(engines, "items"),
        ('column = "n", type = "double precision"', 'column = "n", type = "bigint"'),
        ('column = "_id", type = "double precision", kinds = ["double"]', 'column = "_id", type = "bigint"'),
    )

    engine, end = await engines.run(engines.settings(), plan=plan)

    assert (end["exit_code"], end["verification"]) == (EXIT_DONE, "verified")
    rows = [(row[0], row[1], row[2] and json.loads(row[2])) for row in target.rows("SELECT * FROM items ORDER BY 1")]
    assert rows == [
        (0, 1, None), (1, 2**53, None), (2, -(2**63), None), (3, 2**60, None), (4, None, {"n": 0.5}),
        (5, None, {"n": "NaN"}), (6, None, {"n": 2**63}), (7, 7, None),
    ]  # fmt: skip
    report = await verified(engine)
    assert (only(report).equal, report.differences) == (len(numbers), [])


STAND_IN = """
    CREATE TYPE vector;
    CREATE FUNCTION vector_in(cstring) RETURNS vector LANGUAGE internal IMMUTABLE STRICT AS 'byteain';
    CREATE FUNCTION vector_out(vector) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
    CREATE FUNCTION vector_recv(internal) RETURNS vector LANGUAGE internal IMMUTABLE STRICT AS 'bytearecv';
    CREATE FUNCTION vector_send(vector) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'byteasend';
    CREATE FUNCTION vector_eq(vector, vector) RETURNS bool LANGUAGE internal IMMUTABLE STRICT AS 'byteaeq';
    CREATE TYPE vector (
        INPUT = vector_in, OUTPUT = vector_out, RECEIVE = vector_recv, SEND = vector_send, STORAGE = extended
    );
    CREATE OPERATOR = (LEFTARG = vector, RIGHTARG = vector, FUNCTION = vector_eq);
    CREATE CAST (vector AS bytea) WITHOUT FUNCTION;
    ALTER EXTENSION plpgsql ADD TYPE vector;
"""
"""An extension's type that has pgvector's name and keeps what its `vector_recv` would read."""


async def test_vectors_have_types_of_their_own_and_arrays_of_numbers_go_into_a_vector_that_is_there(
    source: Source, target: Target, engines: Engines
) -> None:
    def vector(content: str) -> Binary:
        return Binary(bytes.fromhex(content), 9)

    source.db.things.insert_many(
        [
            {"_id": 1, "f": vector("27 00 6666ff42 6666f6c0"), "i": vector("03 00 7f80"), "b": vector("10 03 7f08")},
            {"_id": 2, "f": vector("27 03 00000000"), "i": vector("03 00"), "b": vector("10 01")},
        ]
    )
    engine, end = await engines.run(engines.settings("things", run={"census": "full"}))
    assert end["exit_code"] == EXIT_DONE
    # Broken ones among sound ones: the column holds the bytes of both.
    types = {
        row["attname"]: row["format_type"]
        for row in target.rows(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'things'::regclass"
            " AND attnum > 0"
        )
    }
    assert types == {"_id": "bigint", "f": "bytea", "i": "smallint[]", "b": "bytea", "_extra": "jsonb"}
    assert [tuple(row) for row in target.rows("SELECT i FROM things ORDER BY _id")] == [([127, -128],), ([],)]
    report = await verified(engine)
    assert (only(report).equal, report.differences) == (2, [])

    target.execute(STAND_IN + "CREATE TABLE items (_id bigint PRIMARY KEY, v vector, f real[], _extra jsonb)")
    source.db.items.insert_many(
        [
            {"_id": 1, "v": [1, 2.5, Int64(-3)], "f": vector("27 00 6666ff42")},
            {"_id": 2, "v": vector("27 00 6666ff42 6666f6c0"), "f": vector("27 00")},
            {"_id": 3, "v": [1.0, "x"], "f": vector("27 05 6666ff42")},
            {"_id": 4, "v": [1e300], "f": [1.5]},
        ]
    )
    engine, end = await engines.run(engines.settings("items", run={"mode": "append"}))
    assert end["exit_code"] == EXIT_DONE, end
    rows = target.rows("SELECT v::bytea, f, _extra FROM items ORDER BY _id")
    assert [(row[0] and row[0].hex(), row[1], row[2] and json.loads(row[2])) for row in rows] == [
        ("000300003f80000040200000c0400000", [127.69999694824219], None),
        ("0002000042ff6666c0f66666", [], None),
        (None, None, {"v": [1.0, "x"], "f": "JwVmZv9C"}),
        (None, None, {"v": [int(1e300)], "f": [1.5]}),
    ]
    report = await verified(engine)
    assert (only(report).equal, report.differences) == (4, [])
    assert [(each.field, each.reason) for each in report.less_strict] == [
        ("v", "a vector holds 32-bit floats: its numbers are rounded")
    ]
