"""Everything that PostgreSQL's catalogue says of a table and of what hangs on it, read by statements of the tests' own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.older_servers import PUBLISHED_PARTS, postgres_version

if TYPE_CHECKING:
    from tests.conftest import Target

_PARTS = {
    "table": """
        SELECT relkind, relpersistence, relowner::regrole, relacl::text, relrowsecurity, relforcerowsecurity, relreplident,
               reloptions, relispartition, pg_get_expr(relpartbound, oid) AS bound, pg_get_partkeydef(oid) AS key,
               reltablespace, relam, reloftype::regtype, obj_description(oid, 'pg_class') AS comment,
               obj_description(reltype, 'pg_type') AS type_comment,
               (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid) AS toast
        FROM pg_class c WHERE oid = $1
    """,
    "columns": """
        SELECT attname, format_type(atttypid, atttypmod) AS type, attcollation::regcollation::text, attnotnull, attidentity,
               attgenerated, attstorage, attcompression, attacl::text, attoptions, nullif(attstattarget, -1) AS target,
               pg_get_expr(adbin, adrelid) AS "default", col_description(attrelid, attnum) AS comment
        FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attname
    """,
    "constraints": """
        SELECT conname, contype, pg_get_constraintdef(oid) AS definition, convalidated, condeferrable, condeferred,
               conrelid = $1 AS own, obj_description(oid, 'pg_constraint') AS comment
        FROM pg_constraint WHERE (conrelid = $1 OR confrelid = $1) AND contype NOT IN ('n', 't') ORDER BY 1, 2
    """,
    "indexes": """
        SELECT n.relname, pg_get_indexdef(i.indexrelid) AS definition, indisclustered, indisreplident,
               obj_description(n.oid, 'pg_class') AS comment,
               (SELECT array_agg(attstattarget ORDER BY attnum) FROM pg_attribute WHERE attrelid = n.oid
                AND attstattarget >= 0) AS targets
        FROM pg_index i JOIN pg_class n ON n.oid = i.indexrelid WHERE i.indrelid = $1 ORDER BY 1
    """,
    "policies": """
        SELECT polname, polcmd, polpermissive, polroles::regrole[]::text, pg_get_expr(polqual, polrelid) AS using,
               pg_get_expr(polwithcheck, polrelid) AS "check" FROM pg_policy WHERE polrelid = $1 ORDER BY 1
    """,
    "triggers": """
        SELECT tgname, pg_get_triggerdef(oid) AS definition, tgenabled, obj_description(oid, 'pg_trigger') AS comment
        FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal ORDER BY 1
    """,
    "rules": "SELECT rulename, ev_enabled, pg_get_ruledef(oid) AS definition FROM pg_rewrite WHERE ev_class = $1 ORDER BY 1",
    "publications": """
        SELECT pubname, prattrs::text, pg_get_expr(prqual, prrelid) AS filter
        FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid WHERE prrelid = $1 ORDER BY 1
    """,
    "subscriptions": "SELECT srsubid, srsubstate FROM pg_subscription_rel WHERE srrelid = $1",
    "statistics": """
        SELECT stxname, pg_get_statisticsobjdef(oid) AS definition FROM pg_statistic_ext WHERE stxrelid = $1 ORDER BY 1
    """,
    "family": """
        SELECT inhrelid::regclass::text AS child, inhparent::regclass::text AS parent
        FROM pg_inherits WHERE inhrelid = $1 OR inhparent = $1 ORDER BY 1, 2
    """,
    "labels": "SELECT provider, label, objsubid FROM pg_seclabel WHERE objoid = $1 ORDER BY 1, 3",
    "referring": """
        SELECT DISTINCT pg_describe_object(classid, objid, 0) AS what FROM pg_depend
        WHERE refobjid IN ($1, (SELECT reltype FROM pg_class WHERE oid = $1)) AND deptype = 'n' ORDER BY 1
    """,
    "memberships": "SELECT deptype, refobjid FROM pg_depend WHERE objid = $1 AND deptype IN ('e', 'x')",
}  # fmt: skip

_WHOLE_PUBLICATIONS = (
    "SELECT pubname FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid WHERE prrelid = $1 ORDER BY 1"
)
"""Of older servers, which publish tables whole."""


def facts_of(target: Target, table: str) -> dict[str, Any]:
    """The catalogue's rows about a table, by subject; equal before and after means that nothing was lost."""
    oid = target.value("SELECT $1::regclass::oid", table)
    parts = _PARTS if postgres_version(target) >= PUBLISHED_PARTS else _PARTS | {"publications": _WHOLE_PUBLICATIONS}
    script = ", ".join(
        f"'{name}', (SELECT json_agg(x) FROM ({sql.replace('$1', str(oid))}) x)" for name, sql in parts.items()
    )
    return dict(json.loads(target.value(f"SELECT json_build_object({script})")))
