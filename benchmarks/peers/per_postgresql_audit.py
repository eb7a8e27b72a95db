"""postgresql-audit with its triggers per statement, which are its default."""

from common import ACTOR, ADDRESS, INSERT_TRANSACTION, main, model
from postgresql_audit import VersioningManager


def audit(app, db):
    manager = VersioningManager()
    manager.init(db.Model)
    manager.values = {"actor_id": str(ACTOR), "client_addr": ADDRESS}
    item = model(db, __versioned__={})

    def create():
        tables = [manager.transaction_cls.__table__, manager.activity_cls.__table__]
        db.metadata.create_all(db.engine, tables=tables)
        db.create_all()

    return item, create


if __name__ == "__main__":
    say = INSERT_TRANSACTION.format(
        table="transaction", xid="pg_current_xact_id()", actor="'1'", constraint="transaction_unique_native_tx_id"
    )
    main(audit, [say], ["activity", "transaction"])
