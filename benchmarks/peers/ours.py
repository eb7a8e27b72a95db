"""This package, as ``db.create_all()`` sets it up."""

from common import ACTOR, ADDRESS, main, model

from flask_audit_logger import AuditLogger


def audit(app, db):
    item = model(db, __table_args__={"info": {"audit_logged": True}})
    AuditLogger(db, get_actor_id=lambda: ACTOR, get_client_addr=lambda: ADDRESS).init_app(app)
    return item, db.create_all


if __name__ == "__main__":
    main(audit, [], ["activity", "transaction"])
