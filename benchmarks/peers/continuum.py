"""SQLAlchemy-Continuum with ``native_versioning``: by triggers, so it records every statement as the others do."""

import sqlalchemy as sa
from common import main, model
from sqlalchemy_continuum import make_versioned, versioning_manager


def audit(app, db):
    make_versioned(user_cls=None, options={"native_versioning": True})
    item = model(db, __versioned__={})

    def create():
        with db.engine.begin() as connection:
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS hstore"))
        db.create_all()

    return item, create


if __name__ == "__main__":
    assert versioning_manager
    say = "INSERT INTO transaction (issued_at, id) VALUES (now() AT TIME ZONE 'UTC', nextval('transaction_id_seq'))"
    main(audit, [say], ["item_version", "transaction"])
