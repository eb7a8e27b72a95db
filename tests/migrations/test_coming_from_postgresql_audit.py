"""The log of postgresql-audit 0.18 is taken over, too; the package itself writes it, in its own environment."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.migrations.old import OldShop, needs_old_packages
from tests.migrations.project import upgrade_part
from tests.support.models import Models

pytestmark = [needs_old_packages, pytest.mark.slow]

LIFE = """
import os
import sqlalchemy as sa
from postgresql_audit import versioning_manager
from sqlalchemy.orm import Session, configure_mappers, declarative_base

Base = declarative_base()
versioning_manager.init(Base)

class User(Base):
    __tablename__ = "users"
    __versioned__ = {"exclude": ["email"]}
    id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    name = sa.Column(sa.Text)
    email = sa.Column(sa.Text)

versioning_manager._actor_cls = User
configure_mappers()
engine = sa.create_engine(os.environ["URL"])
with engine.begin() as connection:
    for cls in (versioning_manager.transaction_cls, versioning_manager.activity_cls):
        cls.__table__.create(connection)
    Base.metadata.create_all(connection)
versioning_manager.values = {"client_addr": "10.1.2.3", "actor_id": 1}
with Session(engine) as session:
    ann = User(id=1, name="Ann", email="ann@example.org")
    session.add(ann)
    session.commit()
    ann.name = "Anna"
    session.commit()
    session.execute(sa.text("UPDATE users SET name = 'Annabel', email = 'a@example.org'"))
    session.commit()
    session.delete(ann)
    session.commit()
"""


def declare_users(db):
    class User(db.Model):
        __tablename__ = "users"
        __table_args__ = ({"info": {"audit_logged": {"exclude": ["email"]}}},)
        id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
        name = sa.Column(sa.Text)
        email = sa.Column(sa.Text)

    return Models(User=User)


# Alembic reflects the old tables, and SQLAlchemy doesn't know the type.
@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
def test_every_entry_stays_and_the_way_back_is_exact(tmp_path, project, database_url, create_app, dump, query, execute):
    url = database_url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    OldShop(tmp_path, URL=url).old("-c", LIFE)
    before = dump()
    entries = (
        "SELECT id, {schema}, table_name, verb, old_data, changed_data, issued_at {zone} FROM activity ORDER BY id"
    )
    old = query(entries.format(schema="schema_name", zone=""))
    assert [row[3] for row in old] == ["insert", "update", "update", "delete"]
    assert query("SELECT count(*) FROM activity WHERE transaction_id IS NULL") == [(1,)]

    application = create_app(declare=declare_users, create_all=False)
    written = project.migrate_and_upgrade(application)
    assert next(line.partition("(")[0] for line in upgrade_part(written)) == "op.convert_audit_logger_log"
    assert query(entries.format(schema="schema", zone="AT TIME ZONE 'UTC'")) == old
    activities = application.activities()
    assert [a.record_key for a in activities] == ["1"] * 4
    addresses = [str(a.transaction.client_addr).partition("/")[0] for a in activities]
    assert addresses == ["10.1.2.3", "10.1.2.3", "None", "10.1.2.3"]

    execute("INSERT INTO users VALUES (2, 'Ben', 'b@example.org')")
    assert application.activities()[-1].changed_data == {"id": 2, "name": "Ben"}
    project.downgrade()
    assert dump() == before
    assert query(entries.format(schema="schema_name", zone=""))[:4] == old
    execute("INSERT INTO users VALUES (3, 'Cid', 'c@example.org')")
    assert query("SELECT count(*) FROM activity") == [(6,)]
