"""Print, as JSON, the DDL that flask-audit-logger 2.0.0 sets up for the benchmark's table.

Runs in the environment ``.venv-bench-2.0.0``, where that release is installed from the package index, and only
asks the real package for its SQL.
"""

import json
import sys

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from flask_audit_logger import AuditLogger


def declare(db):
    """The same columns as ``benchmarks.variants.ITEM_TABLE``, and the actor class that the release insists on."""

    class User(db.Model):
        __tablename__ = "users"
        id = Column(postgresql.BIGINT, primary_key=True)

    class Item(db.Model):
        __tablename__ = "item"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id = Column(postgresql.BIGINT, primary_key=True)

    return User, Item


def main():
    db = SQLAlchemy()
    user, _item = declare(db)
    audit_logger = AuditLogger(db)
    dialect = postgresql.dialect()
    statements = [audit_logger.pg_btree_gist_extension.create_sql]
    for table in (user.__table__, audit_logger.transaction_cls.__table__, audit_logger.activity_cls.__table__):
        statements.append(CreateTable(table).compile(dialect=dialect))
        statements += [CreateIndex(index).compile(dialect=dialect) for index in table.indexes]
    statements += [function.create_sql for function in audit_logger.pg_functions]
    statements += [trigger.create_sql for trigger in audit_logger.pg_triggers]
    json.dump([str(statement) for statement in statements], sys.stdout)


if __name__ == "__main__":
    main()
