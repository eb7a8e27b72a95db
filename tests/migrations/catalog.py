"""Everything that a migration can leave in a database, as sorted lines of text, so that two states compare exactly."""

from __future__ import annotations

from sqlalchemy import Engine, text

_SYSTEM = "('pg_catalog', 'information_schema', 'pg_toast')"

_DUMP = f"""
SELECT 'schema ' || quote_ident(nspname) AS line
FROM pg_namespace WHERE nspname NOT IN {_SYSTEM} AND nspname NOT LIKE 'pg\\_%'
UNION ALL
SELECT format('relation %s %s.%s %s', c.relkind, n.nspname, c.relname, c.relacl)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN {_SYSTEM}
UNION ALL
SELECT format('column %s.%s.%s %s %s %s %s %s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN 'not null' END, pg_get_expr(d.adbin, d.adrelid), a.attidentity,
    (SELECT collname FROM pg_collation WHERE oid = a.attcollation))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname NOT IN {_SYSTEM} AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid <> 0 AND contype <> 'n'
    AND connamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN {_SYSTEM})
UNION ALL
SELECT format('index %s', pg_get_indexdef(i.indexrelid))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN {_SYSTEM}
UNION ALL
SELECT format('function %s %s %s %s', p.oid::regprocedure, pg_get_functiondef(p.oid), p.proacl,
    obj_description(p.oid, 'pg_proc'))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN {_SYSTEM} AND p.prokind = 'f'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
UNION ALL
SELECT format('trigger %s %s', tgenabled, pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT format('extension %s', extname) FROM pg_extension
UNION ALL
SELECT format('type %s', t.oid::regtype) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname NOT IN {_SYSTEM} AND t.typtype IN ('e', 'd')
"""

#: Alembic's own table is no part of what a migration makes.
_ALEMBIC = "alembic_version"


def catalog(engine: Engine) -> list[str]:
    """The lines."""
    with engine.connect() as connection:
        lines = connection.execute(text(_DUMP.replace(":", "\\:"))).scalars().all()
    return sorted(line for line in lines if _ALEMBIC not in line)
