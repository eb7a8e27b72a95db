"""flask-audit-logger 2.0.0, with the SQL that it would put into a migration."""

import sqlalchemy as sa
from common import ACTOR, ADDRESS, INSERT_TRANSACTION, main, model, user
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from flask_audit_logger import AuditLogger


def audit(app, db):
    actors = user(db)
    item = model(db, __table_args__=({"info": {"audit_logged": True}},))
    audit_logger = AuditLogger(db, actor_cls="User", get_actor_id=lambda: ACTOR, get_client_addr=lambda: ADDRESS)

    def create():
        dialect = postgresql.dialect()
        statements = [audit_logger.pg_btree_gist_extension.create_sql]
        log = (audit_logger.transaction_cls.__table__, audit_logger.activity_cls.__table__)
        tables = (actors.__table__, item.__table__, *log)
        for table in tables:
            statements.append(CreateTable(table).compile(dialect=dialect))
            statements += [CreateIndex(index).compile(dialect=dialect) for index in table.indexes]
        statements += [function.create_sql for function in audit_logger.pg_functions]
        statements += [trigger.create_sql for trigger in audit_logger.pg_triggers]
        with db.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(str(statement).replace("%", "%%"))
            connection.execute(sa.text("INSERT INTO users VALUES (1)"))

    return item, create


if __name__ == "__main__":
    say = INSERT_TRANSACTION.format(
        table="transaction", xid="txid_current()", actor="1", constraint="transaction_unique_native_tx_id"
    )
    main(audit, [say], ["activity", "transaction"])
