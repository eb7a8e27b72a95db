"""A till on SQLAlchemy alone: views are coroutines on asyncpg, and who calls says so in a header."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask import g, jsonify, request
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.pool import NullPool

from flask_audit_logger import AuditLogger, AuditUI
from flask_audit_logger.ui import RevertPolicy
from tests.apps.stranger import Own, Stranger, Visit, created, new_app

LOG = [
    ("insert", "cashiers", None),
    ("insert", "cashiers", None),
    ("insert", "sales", "ann"),
    ("insert", "lines", "ann"),
    ("insert", "lines", "ann"),
    ("update", "sales", "ann"),
    ("insert", "sales", "ben"),
    ("insert", "lines", "ben"),
    ("delete", "lines", "ann"),
]


def make(url: Any, audited: bool) -> Stranger:
    """Build the application."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    pytest.importorskip("asgiref", reason="Flask is installed without its extra async")
    app = new_app("plain_asyncpg", url)
    engine = sa.create_engine(url, poolclass=NullPool)
    # Each request has an event loop of its own, and a connection is of one loop.
    async_engine = create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async_session = async_sessionmaker(async_engine, expire_on_commit=False)

    class Base(orm.DeclarativeBase):
        pass

    class Cashier(Base):
        __tablename__ = "cashiers"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    class Sale(Base):
        __tablename__ = "sales"
        __table_args__ = ({"info": {"audit_logged": True}},)
        id: Mapped[int] = mapped_column(primary_key=True)
        total: Mapped[int] = mapped_column(default=0)

    class Line(Base):
        __tablename__ = "lines"
        __table_args__ = (sa.CheckConstraint("price > 0", name="has_price"), {"info": {"audit_logged": True}})
        id: Mapped[int] = mapped_column(primary_key=True)
        sale_id: Mapped[int] = mapped_column(sa.ForeignKey("sales.id"))
        price: Mapped[int]

    @app.before_request
    async def who_is_it() -> None:
        """Known before any write: a coroutine asks a session of its own."""
        g.cashier = None
        if name := request.headers.get("X-Cashier"):
            async with async_session() as session:
                g.cashier = await session.scalar(sa.select(Cashier).filter_by(name=name))

    @app.post("/sales")
    async def sell() -> Any:
        """Lines in savepoints: one that is refused leaves the others, and the message of the database."""
        refused = []
        async with async_session() as session:
            session.add(sale := Sale())
            await session.flush()
            key = sale.id
            for price in request.get_json():
                try:
                    async with session.begin_nested():
                        session.add(Line(sale_id=key, price=price))
                except sa.exc.IntegrityError as error:
                    refused.append(str(error.orig))
            await session.commit()
            if "total" in request.args:
                prices = sa.select(sa.func.sum(Line.price)).filter_by(sale_id=key)
                sale.total = await session.scalar(prices)
                await session.commit()
            return jsonify(key, refused)

    @app.delete("/lines/<int:key>")
    async def take_back(key: int) -> Any:
        async with async_engine.begin() as connection:
            gone = await connection.execute(sa.delete(Line).filter_by(id=key))
        return jsonify(gone.rowcount)

    @app.get("/sales/<int:key>")
    async def show(key: int) -> Any:
        async with async_session() as session:
            lines = await session.scalars(sa.select(Line.price).filter_by(sale_id=key).order_by(Line.id))
            return jsonify((await session.get(Sale, key)).total, lines.all())

    def journey(visit: Visit) -> None:
        ann, ben = {"X-Cashier": "ann"}, {"X-Cashier": "ben"}
        visit("POST", "/sales?total=1", json=[3, -1, 4], headers=ann)
        visit("POST", "/sales", json=[5], headers=ben)
        visit("GET", "/sales/1", headers=ben)
        visit("DELETE", "/lines/1", headers=ann)
        visit("DELETE", "/lines/99", headers=ann)

    def reader() -> Any:
        client = app.test_client()
        client.environ_base["HTTP_X_CASHIER"] = "ann"
        return client

    stranger = Stranger(app, Own(Base.metadata, engine), journey, reader)
    if audited:
        stranger.audit_logger = AuditLogger(
            engine=engine,
            metadata=Base.metadata,
            get_actor_id=lambda: g.get("cashier"),
            actor_cls="Cashier",
            ui=AuditUI(permission=lambda action, target: True, revert=RevertPolicy()),
        )
        stranger.audit_logger.init_app(app)
        stranger.audit_logger.watch(async_engine)
    return created(stranger, Cashier(name="ann"), Cashier(name="ben"))
