"""flask-postgresql-audit."""

import sqlalchemy as sa
from common import ACTOR, ADDRESS, INSERT_TRANSACTION, main, model
from flask_postgresql_audit import Audit, PostgreSQLAudit


def run(db, statements):
    with db.engine.begin() as connection:
        for statement in statements:
            connection.execute(statement if isinstance(statement, sa.TextClause) else sa.text(str(statement)))


def audit(app, db):
    item = model(db, Audit)
    manager = PostgreSQLAudit(actor_id_getter=lambda: ACTOR, client_address_getter=lambda: ADDRESS)
    manager.init_app(app, db)

    def create():
        extension, *others = manager.pg_audit_entities
        run(db, [extension.to_sql_statement_create()])
        db.create_all()
        run(db, [statement for entity in others for statement in entity.to_sql_statement_create_or_replace()])

    return item, create


if __name__ == "__main__":
    say = INSERT_TRANSACTION.format(
        table="pga_transaction", xid="txid_current()", actor="'1'", constraint="pga_transaction_unique_native_tx_id"
    )
    main(audit, [say], ["pga_activity", "pga_transaction"])
