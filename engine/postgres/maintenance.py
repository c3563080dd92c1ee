"""What building a key or an index may use of the server: memory and parallel workers, within what its administrators allow."""

from __future__ import annotations

import asyncpg

SHARE_OF_CACHE = 4
"""All that is built at a time takes no more memory than this part (a quarter) of effective_cache_size, by which the server is
told of its machine's memory;"""
SHARE_OF_WORKERS = 2
"""and no more parallel workers than this part (half) of max_parallel_workers: queries of others need some, too."""

# What was set for a role, a database or all roles, or stands in the connection string, was meant for sessions such as ours.
_RAISE = """
SELECT set_config(s.name, w.wanted::text, true)
FROM (VALUES
    ('maintenance_work_mem', least(
        pg_size_bytes($1), pg_size_bytes(current_setting('effective_cache_size')) / $3::int / $2::int
    ) / 1024),
    ('max_parallel_maintenance_workers', current_setting('max_parallel_workers')::bigint / $4::int / $2::int)
) AS w (name, wanted)
JOIN pg_settings s USING (name)
WHERE s.source IN ('default', 'configuration file', 'command line', 'environment variable', 'override')
  AND w.wanted > s.setting::bigint
"""


async def raise_means(connection: asyncpg.Connection, memory: str, at_once: int) -> None:
    """Let the transaction that is open use more memory and parallel workers than the server's defaults give it.

    Nothing is lowered, and what an administrator has set for the role, the database or all roles stays as it is.

    Args:
        memory: wanted as maintenance_work_mem, such as `256MB`.
        at_once: keys and indexes that may be built at a time, this one included; they share what there is.
    """
    await connection.execute(_RAISE, memory, at_once, SHARE_OF_CACHE, SHARE_OF_WORKERS)
