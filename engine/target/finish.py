"""PLACEHOLDER by the lead (to be replaced by the target colleague)."""
from engine.target import ddl
from engine.target.prepare import builds_key_first
async def build_key(connection, load, mapping, *, has_key, mode):
    if has_key and not builds_key_first(mapping, mode):
        await connection.execute("SET maintenance_work_mem = '256MB'")
        await connection.execute(ddl.add_primary_key(load.loads_into, mapping.id_column.name, ddl.key_name(load.loads_into)))
async def analyze(connection, load):
    await connection.execute(ddl.analyze(load.loads_into))
async def count_rows(connection, load):
    return await connection.fetchval(f"SELECT count(*) FROM {load.loads_into.sql}")
