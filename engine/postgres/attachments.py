"""What hangs on a table, and what becomes of it in mode `replace`.

`ATTACHMENTS` is the whole list: from it come the look at a table before anything is loaded, the same look under the lock of
the swap, and the table of the documents. A table with nothing on it that a new table would lack is replaced by a rename, which
takes no time. A table on which something hangs stays the table that it is: its *contents* are exchanged
(`engine.postgres.exchange`), so everything that refers to it, by its OID, keeps doing so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from engine.mapping.model import EarlierMapping, Mapping, Role
from engine.mapping.names import TableName
from engine.postgres.ddl import key_name
from engine.postgres.sqlstates import one_line
from engine.postgres.tables import spelling


class Fate(StrEnum):
    """What becomes of something that hangs on a table whose rows are replaced."""

    CARRIED = "carried over"
    """The new table gets it, or it follows the name by itself: the rename does."""
    ANEW = "made anew"
    """The run makes it for the new rows."""
    KEPT = "stays"
    """The table stays and its contents are exchanged."""
    REFUSED = "refused before the load"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One kind of thing."""

    kind: str
    """One word or two, as `run.replace_drops` names it."""
    title: str
    """For the documents."""
    fate: Fate
    sql: str = ""
    """A SELECT of one text column, the objects as text, over the CTEs of `_LOOK`; empty where there is nothing to look for."""
    may_go: bool = False
    """It belongs to the table alone, so the operator may have it dropped with the old table."""


ATTACHMENTS: tuple[Attachment, ...] = (
    # --- what the rename carries over ---------------------------------------------------------------------------------
    Attachment("owner", "owner", Fate.CARRIED),
    Attachment("grants", "grants on the table, with what was revoked from the owner or PUBLIC", Fate.CARRIED),
    Attachment("comment", "comment on the table", Fate.CARRIED),
    Attachment("schema publication", "publications FOR ALL TABLES and FOR TABLES IN SCHEMA", Fate.CARRIED),
    Attachment("event trigger", "event triggers of the database", Fate.CARRIED),
    Attachment("text", "the table's name in texts, such as a cron job or a prepared statement", Fate.CARRIED),
    # --- what is made for the new rows --------------------------------------------------------------------------------
    Attachment("primary key", "the primary key of `_id`, as a run makes it", Fate.ANEW),
    Attachment("planned index", "an index that the plan makes, too (`--indexes`)", Fate.ANEW),
    Attachment("statistics", "what ANALYZE found", Fate.ANEW),
    Attachment("planned column", "a column that a plan of this program made and today's plan does not", Fate.ANEW),
    # --- structure ----------------------------------------------------------------------------------------------------
    Attachment(
        "partition",
        "being a partition",
        Fate.KEPT,
        "SELECT format('being a partition of %s', (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = o.oid))"
        " FROM o WHERE o.relispartition",
    ),
    Attachment(
        "partitioned", "being partitioned", Fate.KEPT, "SELECT 'being partitioned' FROM o WHERE o.relkind = 'p'"
    ),
    Attachment(
        "inherits",
        "inheriting from a table",
        Fate.KEPT,
        "SELECT format('inheriting from %s', inhparent::regclass) FROM o JOIN pg_inherits ON inhrelid = o.oid"
        " WHERE NOT o.relispartition",
    ),
    Attachment(
        "inherited",
        "tables that inherit from it (their rows stay)",
        Fate.KEPT,
        "SELECT format('child table %s', inhrelid::regclass) FROM o JOIN pg_inherits ON inhparent = o.oid"
        " WHERE o.relkind = 'r'",
    ),
    Attachment(
        "of type",
        "being a table OF a composite type",
        Fate.KEPT,
        "SELECT format('being a table of type %s', o.reloftype::regtype) FROM o WHERE o.reloftype <> 0",
    ),
    Attachment(
        "extension",
        "membership in an extension",
        Fate.KEPT,
        "SELECT format('being part of extension %I', e.extname) FROM o JOIN pg_depend d"
        " ON d.classid = 'pg_class'::regclass AND d.objid = o.oid AND d.deptype IN ('e', 'x')"
        " JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid",
    ),
    Attachment(
        "persistence",
        "UNLOGGED",
        Fate.KEPT,
        "SELECT 'being unlogged' FROM o WHERE o.relpersistence <> 'p'",
        may_go=True,
    ),
    Attachment(
        "tablespace",
        "a tablespace of its own",
        Fate.KEPT,
        "SELECT format('tablespace %I', t.spcname) FROM o JOIN pg_tablespace t ON t.oid = o.reltablespace",
        may_go=True,
    ),
    Attachment(
        "access method",
        "another table access method",
        Fate.KEPT,
        "SELECT format('access method %I', m.amname) FROM o JOIN pg_am m ON m.oid = o.relam"
        " WHERE m.amname <> current_setting('default_table_access_method')",
        may_go=True,
    ),
    Attachment(
        "storage parameters",
        "storage parameters (fillfactor, autovacuum, those of TOAST)",
        Fate.KEPT,
        "SELECT 'storage parameters ' || array_to_string(coalesce(o.reloptions, '{}') || coalesce(t.reloptions, '{}'), ', ')"
        " FROM o LEFT JOIN pg_class t ON t.oid = o.reltoastrelid"
        " WHERE o.reloptions IS NOT NULL OR t.reloptions IS NOT NULL",
        may_go=True,
    ),
    # --- rights -------------------------------------------------------------------------------------------------------
    Attachment(
        "row security",
        "row security, enabled or forced",
        Fate.KEPT,
        "SELECT 'row security' FROM o WHERE o.relrowsecurity OR o.relforcerowsecurity",
    ),
    Attachment(
        "policy",
        "policies",
        Fate.KEPT,
        "SELECT format('policy %I', p.polname) FROM o JOIN pg_policy p ON p.polrelid = o.oid",
    ),
    Attachment(
        "column grant",
        "grants on columns",
        Fate.KEPT,
        "SELECT format('a grant on column %I', a.attname) FROM a WHERE a.attacl IS NOT NULL",
    ),
    Attachment(
        "passed on grant",
        "grants that another role than the owner gave on",
        Fate.KEPT,
        "SELECT DISTINCT format('a grant by %I', pg_get_userbyid(g.grantor)) FROM o, aclexplode(o.relacl) g"
        " WHERE g.grantor <> o.relowner",
    ),
    Attachment(
        "default privileges",
        "no rights but the owner's, where default privileges would give a new table some",
        Fate.KEPT,
        "SELECT 'having no grants, which default privileges would give,' FROM o WHERE o.relacl IS NULL AND EXISTS ("
        "SELECT FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole WHERE r.rolname = current_user"
        " AND d.defaclobjtype = 'r' AND d.defaclnamespace IN (0, o.relnamespace))",
    ),
    Attachment(
        "owner",
        "an owner whom this role cannot give a table",
        Fate.KEPT,
        "SELECT format('the owner %I', pg_get_userbyid(o.relowner)) FROM o"
        " WHERE NOT ((SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        " OR pg_has_role(o.relowner, CASE WHEN current_setting('server_version_num')::int < 160000"
        " THEN 'MEMBER' ELSE 'SET' END)"
        " AND has_schema_privilege(o.relowner, o.relnamespace, 'CREATE'))",
    ),
    Attachment(
        "security label",
        "security labels of the table and its columns",
        Fate.KEPT,
        "SELECT format('a security label of %s', l.provider) FROM o JOIN pg_seclabel l"
        " ON l.classoid = 'pg_class'::regclass AND l.objoid = o.oid",
    ),
    # --- columns ------------------------------------------------------------------------------------------------------
    Attachment(
        "column",
        "columns that no plan made, with their values where an `_id` stays",
        Fate.KEPT,
        "SELECT format('column %I', a.attname) FROM a WHERE a.attname <> ALL ($2::text[]) AND a.attname <> ALL ($7::text[])"
        " AND a.attgenerated = ''",
        may_go=True,
    ),
    Attachment(
        "generated column",
        "generated columns",
        Fate.KEPT,
        "SELECT format('generated column %I', a.attname) FROM a WHERE a.attgenerated <> ''",
        may_go=True,
    ),
    Attachment(
        "identity",
        "identity columns",
        Fate.KEPT,
        "SELECT format('identity column %I', a.attname) FROM a WHERE a.attidentity <> ''",
        may_go=True,
    ),
    Attachment(
        "sequence",
        "owned sequences, which go on where they are",
        Fate.KEPT,
        "SELECT format('sequence %s', s.oid::regclass) FROM o JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass"
        " AND d.refobjid = o.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')"
        " JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'",
        may_go=True,
    ),
    Attachment(
        "default",
        "defaults of columns",
        Fate.KEPT,
        "SELECT format('default of column %I', a.attname) FROM a WHERE a.atthasdef AND a.attgenerated = ''",
        may_go=True,
    ),
    Attachment(
        "column type",
        "types, domains and lengths of columns that are not the plan's",
        Fate.KEPT,
        "SELECT format('type %s of column %I', format_type(a.atttypid, a.atttypmod), a.attname)"
        " FROM a JOIN mapped m ON m.name = a.attname"
        " WHERE format_type(a.atttypid, a.atttypmod) NOT IN (m.type, m.earlier_type)",
        may_go=True,
    ),
    Attachment(
        "collation",
        "collations of columns",
        Fate.KEPT,
        "SELECT format('collation of column %I', a.attname) FROM a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attcollation <> t.typcollation",
        may_go=True,
    ),
    Attachment(
        "not null",
        "NOT NULL of columns",
        Fate.KEPT,
        "SELECT format('NOT NULL of column %I', a.attname) FROM a WHERE a.attnotnull AND a.attname <> $5::text"
        " AND NOT a.attnum = ANY (coalesce((SELECT c.conkey FROM pg_constraint c WHERE c.conrelid = a.attrelid"
        " AND c.contype = 'p'), '{}'))",
        may_go=True,
    ),
    Attachment(
        "column statistics",
        "statistics targets and options of columns (n_distinct)",
        Fate.KEPT,
        "SELECT format('statistics settings of column %I', a.attname) FROM a"
        " WHERE coalesce(a.attstattarget, -1) <> -1 OR a.attoptions IS NOT NULL",
        may_go=True,
    ),
    Attachment(
        "column storage",
        "storage and compression of columns",
        Fate.KEPT,
        "SELECT format('storage of column %I', a.attname) FROM a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attstorage <> t.typstorage OR a.attcompression <> ''",
        may_go=True,
    ),
    Attachment(
        "column comment",
        "comments on columns, and on the table's constraints and indexes",
        Fate.KEPT,
        "SELECT format('comment on column %I', a.attname) FROM a JOIN pg_description d"
        " ON d.classoid = 'pg_class'::regclass AND d.objoid = a.attrelid AND d.objsubid = a.attnum"
        " UNION ALL SELECT format('comment on constraint %I', c.conname) FROM o JOIN pg_constraint c ON c.conrelid = o.oid"
        " JOIN pg_description d ON d.classoid = 'pg_constraint'::regclass AND d.objoid = c.oid"
        " UNION ALL SELECT format('comment on index %s', i.indexrelid::regclass) FROM o JOIN pg_index i ON i.indrelid = o.oid"
        " JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = i.indexrelid"
        " UNION ALL SELECT 'comment on its row type' FROM o JOIN pg_description d"
        " ON d.classoid = 'pg_type'::regclass AND d.objoid = o.reltype",
        may_go=True,
    ),
    # --- constraints and indexes --------------------------------------------------------------------------------------
    Attachment(
        "other key",
        "a primary key of other columns, name or kind",
        Fate.KEPT,
        "SELECT format('primary key %I', c.conname) FROM o JOIN pg_constraint c ON c.conrelid = o.oid AND c.contype = 'p'"
        " JOIN pg_index i ON i.indexrelid = c.conindid JOIN pg_class n ON n.oid = i.indexrelid"
        " WHERE c.conname <> coalesce($6::text, c.conname) OR c.condeferrable OR i.indnatts > 1 OR n.reltablespace <> 0"
        " OR n.reloptions IS NOT NULL"
        " OR (SELECT a.attname FROM a WHERE a.attnum = c.conkey[1]) <> $5::text",
        may_go=True,
    ),
    Attachment(
        "check",
        "CHECK constraints, also NOT VALID",
        Fate.KEPT,
        "SELECT format('check %I', c.conname) FROM o JOIN pg_constraint c ON c.conrelid = o.oid AND c.contype = 'c'",
        may_go=True,
    ),
    Attachment(
        "unique",
        "UNIQUE constraints, also deferrable",
        Fate.KEPT,
        "SELECT format('unique constraint %I', c.conname) FROM o JOIN pg_constraint c"
        " ON c.conrelid = o.oid AND c.contype = 'u'",
        may_go=True,
    ),
    Attachment(
        "exclude",
        "EXCLUDE constraints",
        Fate.KEPT,
        "SELECT format('exclusion constraint %I', c.conname) FROM o JOIN pg_constraint c"
        " ON c.conrelid = o.oid AND c.contype = 'x'",
        may_go=True,
    ),
    Attachment(
        "foreign key",
        "foreign keys to other tables, or to itself",
        Fate.KEPT,
        "SELECT format('foreign key %I', c.conname) FROM o JOIN pg_constraint c ON c.conrelid = o.oid AND c.contype = 'f'",
        may_go=True,
    ),
    Attachment(
        "index",
        "other indexes: partial, of expressions, with INCLUDE, of other kinds, invalid ones",
        Fate.KEPT,
        """
        SELECT format('index %s', i.indexrelid::regclass) FROM o JOIN pg_index i ON i.indrelid = o.oid
        JOIN pg_class n ON n.oid = i.indexrelid JOIN pg_am m ON m.oid = n.relam
        WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = o.oid)
          AND CASE WHEN m.amname = 'btree' AND i.indexprs IS NULL AND i.indnatts = i.indnkeyatts AND i.indisvalid
                        AND n.reloptions IS NULL AND n.reltablespace = 0
                        AND to_jsonb(i) ->> 'indnullsnotdistinct' IS DISTINCT FROM 'true'
                        AND NOT EXISTS (SELECT FROM unnest(i.indclass::oid[]) u (oid) JOIN pg_opclass p ON p.oid = u.oid
                                        WHERE NOT p.opcdefault)
                        AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[], i.indcollation::oid[]) u (num, coll)
                                        JOIN a ON a.attnum = u.num WHERE a.attcollation <> u.coll)
              THEN n.relname || '|' || i.indisunique || '|' || (i.indpred IS NOT NULL) || '|' || (
                    SELECT string_agg(a.attname || CASE k.opt WHEN 0 THEN '' WHEN 3 THEN ' DESC' ELSE ' ?' END,
                                      ',' ORDER BY k.nth)
                    FROM unnest(i.indkey::int2[], i.indoption::int2[]) WITH ORDINALITY k (num, opt, nth)
                    JOIN a ON a.attnum = k.num)
              ELSE '' END <> ALL ($8::text[])
        """,
        may_go=True,
    ),
    Attachment(
        "cluster",
        "the mark of CLUSTER",
        Fate.KEPT,
        "SELECT format('CLUSTER on %s', i.indexrelid::regclass) FROM o JOIN pg_index i ON i.indrelid = o.oid"
        " WHERE i.indisclustered",
        may_go=True,
    ),
    Attachment(
        "index statistics",
        "statistics targets of indexes",
        Fate.KEPT,
        "SELECT format('statistics target of index %s', i.indexrelid::regclass) FROM o JOIN pg_index i ON i.indrelid = o.oid"
        " WHERE EXISTS (SELECT FROM pg_attribute x WHERE x.attrelid = i.indexrelid AND coalesce(x.attstattarget, -1) <> -1)",
        may_go=True,
    ),
    Attachment(
        "extended statistics",
        "extended statistics (CREATE STATISTICS)",
        Fate.KEPT,
        "SELECT format('statistics %I', s.stxname) FROM o JOIN pg_statistic_ext s ON s.stxrelid = o.oid",
        may_go=True,
    ),
    # --- what acts ----------------------------------------------------------------------------------------------------
    Attachment(
        "trigger",
        "triggers, in whatever state; they fire for the new rows as for any INSERT",
        Fate.KEPT,
        "SELECT format('trigger %I', t.tgname) FROM o JOIN pg_trigger t ON t.tgrelid = o.oid WHERE NOT t.tgisinternal",
        may_go=True,
    ),
    Attachment(
        "rule",
        "rules; new rows pass by them, as with COPY",
        Fate.KEPT,
        "SELECT format('rule %I', r.rulename) FROM o JOIN pg_rewrite r ON r.ev_class = o.oid",
        may_go=True,
    ),
    Attachment(
        "publication",
        "publications of the table, with their columns and row filters",
        Fate.KEPT,
        "SELECT format('publication %I', p.pubname) FROM o JOIN pg_publication_rel r ON r.prrelid = o.oid"
        " JOIN pg_publication p ON p.oid = r.prpubid",
    ),
    Attachment(
        "subscription",
        "subscriptions that fill it",
        Fate.KEPT,
        "SELECT 'a subscription' FROM o JOIN pg_subscription_rel s ON s.srrelid = o.oid",
    ),
    Attachment(
        "replica identity",
        "replica identity",
        Fate.KEPT,
        "SELECT 'replica identity' FROM o WHERE o.relreplident <> 'd'",
        may_go=True,
    ),
    # --- what refers to it --------------------------------------------------------------------------------------------
    Attachment(
        "dependant",
        "views, materialized views, bodies of functions, uses of its row type, and whatever else depends on it",
        Fate.KEPT,
        """
        SELECT DISTINCT CASE
            WHEN v.oid IS NOT NULL AND v.relkind IN ('v', 'm')
            THEN format('%s %s', CASE v.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, v.oid::regclass)
            ELSE pg_describe_object(d.classid, d.objid, 0)
        END
        FROM dependant d
        LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
        LEFT JOIN pg_class v ON v.oid = r.ev_class
        WHERE d.deptype = 'n' AND NOT EXISTS (
            SELECT FROM dependant own
            WHERE own.classid = d.classid AND own.objid = d.objid AND own.deptype IN ('a', 'i')
        ) AND NOT EXISTS (SELECT FROM pg_constraint c WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid)
        """,
    ),
    Attachment(
        "reference",
        "foreign keys from other tables of the same run",
        Fate.KEPT,
        "SELECT format('foreign key %I of %s', c.conname, c.conrelid::regclass) FROM referring c"
        " WHERE c.conrelid = ANY ($9::oid[])",
    ),
    Attachment(
        "foreign reference",
        "foreign keys from tables that the run does not replace",
        Fate.REFUSED,
        "SELECT format('foreign key %I of %s', c.conname, c.conrelid::regclass) FROM referring c"
        " WHERE c.conrelid <> ALL ($9::oid[])",
    ),
    Attachment(
        "foreign partition",
        "partitions that are foreign tables",
        Fate.REFUSED,
        "SELECT format('foreign table %s', t.relid::regclass) FROM o, pg_partition_tree(o.oid) t"
        " JOIN pg_class f ON f.oid = t.relid AND f.relkind = 'f'",
    ),
)
"""Everything that the catalogue of PostgreSQL 14 to 18 can hang on a table, and what becomes of it."""

_LOOK = """
WITH RECURSIVE o AS (SELECT * FROM pg_class WHERE oid = $1::oid),
a AS (SELECT x.* FROM pg_attribute x WHERE x.attrelid = $1::oid AND x.attnum > 0 AND NOT x.attisdropped),
mapped AS (SELECT * FROM unnest($2::text[], $3::text[], $4::text[]) m (name, type, earlier_type)),
family AS (SELECT $1::oid AS oid UNION SELECT t.relid::oid FROM pg_partition_tree($1::oid::regclass) t),
referring AS (
    SELECT DISTINCT c.conname, c.conrelid FROM pg_constraint c
    LEFT JOIN pg_constraint above ON above.oid = c.conparentid
    WHERE c.contype = 'f' AND c.confrelid IN (SELECT f.oid FROM family f)
      AND (above.oid IS NULL OR above.confrelid NOT IN (SELECT f.oid FROM family f))  -- once for all partitions
      AND c.conrelid NOT IN (SELECT f.oid FROM family f)
),
dependant AS (
    SELECT d.classid, d.objid, d.deptype FROM pg_depend d
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::oid
    UNION  -- through what belongs to the table, such as its row type
    SELECT d.classid, d.objid, d.deptype FROM pg_depend d JOIN dependant p
        ON d.refclassid = p.classid AND d.refobjid = p.objid
    WHERE p.deptype IN ('a', 'i')
)
"""
"""The table, its columns, the plan's, its partitions and itself, foreign keys from elsewhere, and what depends on it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that hangs on a table."""

    attachment: Attachment
    what: str
    """The object, as text."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is known of the plans that wrote to a table."""

    is_known: bool = False
    """A run of ours made it or wrote to it."""
    columns: frozenset[str] = frozenset()
    """That a plan of ours ever wrote to it, by this name."""
    types: tuple[tuple[str, str], ...] = ()
    """(column, type) as the run made them that made the table."""

    @classmethod
    def of(cls, mappings: Sequence[EarlierMapping]) -> Earlier:
        """From the mappings with which runs wrote into the table, the newest first."""
        mappings = [each for each in mappings if not each.by_name]
        made = next((each.mapping.columns for each in mappings if each.made), ())
        return cls(
            is_known=bool(mappings),
            columns=frozenset(column.name for each in mappings for column in each.mapping.columns),
            types=tuple((column.name, column.sql_type) for column in made),
        )


async def look(
    connection: asyncpg.Connection,
    oid: int,
    target: TableName,
    mapping: Mapping,
    *,
    earlier: Earlier,
    planned_indexes: Iterable[str] = (),
    others: Collection[int] = (),
) -> list[Found]:
    """What hangs on a table that a plain new table in its place would lack.

    Args:
        oid: the table's.
        target: its name.
        mapping: what the run makes.
        earlier: what is known of it.
        planned_indexes: as `index_signature` spells them.
        others: OIDs of the tables that the same run replaces.
    """
    types = dict(earlier.types)
    rows = await connection.fetch(
        _QUERY,
        oid,
        [column.name for column in mapping.columns],
        [spelling(column.sql_type) for column in mapping.columns],
        [spelling(types.get(column.name, "")) for column in mapping.columns],
        mapping.id_column.name,
        None if earlier.types else key_name(target),  # a run's own may have another name where that was taken
        sorted(earlier.columns),
        list(planned_indexes),
        list(others),
    )
    found = [Found(ATTACHMENTS[row["n"]], one_line(row["what"])) for row in rows]
    if await is_another(connection, oid, mapping, earlier):
        return [each for each in found if each.attachment.kind not in _SHAPE]
    return found


async def dependants(connection: asyncpg.Connection, oid: int) -> list[str]:
    """What refers to a table from elsewhere, as text: what DROP TABLE without CASCADE would stumble over."""
    rows = await connection.fetch(_QUERY, oid, [], [], [], "", None, [], [], [])
    found = [Found(ATTACHMENTS[row["n"]], one_line(row["what"])) for row in rows]
    return [each.what for each in found if each.attachment.kind in REFERRING]


def index_signature(name: str, keys: Sequence[tuple[str, bool]], *, unique: bool, partial: bool) -> str:
    """A plain B-tree as `look` compares it: its keys are (column, descending)."""
    columns = ",".join(column + (" DESC" if descending else "") for column, descending in keys)
    return f"{name}|{str(unique).lower()}|{str(partial).lower()}|{columns}"


async def is_another(connection: asyncpg.Connection, oid: int, mapping: Mapping, earlier: Earlier) -> bool:
    """The table has no column of the plan apart from `_id`: it is replaced whole, columns and all."""
    if earlier.is_known:
        return False
    names = {column.name for column in mapping.columns if column.role not in (Role.ID, Role.EXTRA)}
    names = names or {column.name for column in mapping.columns}
    return not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped"
        " AND attname = ANY ($2::text[]))",
        oid,
        sorted(names),
    )


REFERRING = frozenset({"dependant", "reference", "foreign reference", "inherited"})
"""Kinds that are other objects, which refer to the table."""
_SHAPE = frozenset({"column", "column type", "not null", "default", "collation", "default privileges"})
"""What does not keep a table in its place that has nothing in common with the plan: its columns are contents, and a rename
takes away what default privileges give."""


_PARTS = [
    f"SELECT {n} AS n, f.what::text FROM ({each.sql}) AS f (what)"  # noqa: S608 - the statements above
    for n, each in enumerate(ATTACHMENTS)
    if each.sql
]
_QUERY = f"{_LOOK} {' UNION ALL '.join(_PARTS)} ORDER BY 1, 2"
