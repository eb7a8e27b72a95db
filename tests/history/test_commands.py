"""Promise: ``flask audit log``, ``show``, ``history``, ``as-of``, ``revert`` and ``export`` say what the API says."""

from __future__ import annotations

import csv
import io
import json
import time
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy import select, update

from tests.history.conftest import THING
from tests.support.apps import make_app
from tests.support.models import AUDITED, Models

THE_THING = ("store.things", str(THING))


def audit(application, *arguments, **options):
    """Exit code and output of a command."""
    result = application.app.test_cli_runner().invoke(args=["audit", *arguments], **options)
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result.exit_code, result.output


def printed(told, *arguments, **options):
    return audit(told.application, *arguments, **options)


def objects(told, *arguments):
    code, output = printed(told, *arguments)
    assert code == 0
    return [json.loads(line) for line in output.splitlines()]


def addresses(rows):
    return [f"{row['transaction']}.{row['id']}" for row in rows]


@pytest.fixture(scope="module")
def application(server):
    """Two databases with a log each."""
    with server.database() as url, server.database() as other:
        application = make_app(url, declare=declare, config={"SQLALCHEMY_BINDS": {"stock": other}})
        yield application
        application.dispose()


@pytest.fixture
def shop(application):
    """Products, lines and stock in them."""
    with application.app.app_context():
        yield SimpleNamespace(app=application.app, db=application.db, **vars(application.models))


def declare(db):
    class Product(db.Model):
        __tablename__ = "products"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.Text)
        price = sa.Column(sa.Integer)

    class Line(db.Model):
        __tablename__ = "lines"
        __table_args__ = (AUDITED,)
        order = sa.Column(sa.Text, primary_key=True)
        place = sa.Column(sa.Integer, primary_key=True)
        number = sa.Column(sa.Integer)

    class Stock(db.Model):
        __bind_key__ = "stock"
        __tablename__ = "stock"
        __table_args__ = (AUDITED,)
        id = sa.Column(sa.Integer, primary_key=True)
        number = sa.Column(sa.Integer)
        kind = sa.Column(sa.Enum("new", "used", native_enum=False))

    tags = db.Table("tags", sa.Column("id", sa.Integer, primary_key=True), info=AUDITED["info"])
    return Models(Product=Product, Line=Line, Stock=Stock, tags=tags)


def newest(shop, *arguments):
    """The transaction of the newest change."""
    _, output = audit(shop, "log", "--limit", "1", "--json", *arguments)
    return str(json.loads(output)["transaction"])


def commit(shop, *given):
    """Write it, and give the number of the transaction."""
    for each in given:
        if isinstance(each, sa.sql.dml.DMLWhereBase | sa.sql.dml.Insert):
            shop.db.session.execute(each)
        else:
            shop.db.session.add(each)
    shop.db.session.commit()
    return newest(shop)


def prices(shop):
    found = list(shop.db.session.execute(select(shop.Product.id, shop.Product.price).order_by(shop.Product.id)))
    shop.db.session.rollback()
    return dict(map(tuple, found))


@pytest.mark.parametrize(
    ("options", "ask"),
    [
        ((), lambda log, told: log.feed()),
        (("--table", "users", "--table", "managers"), lambda log, told: log.history(told.Manager, 1)),
        (("--table", "store.things", "--verb", "update"), lambda log, told: log.history(told.Thing).verb("update")),
        (("--actor", "1"), lambda log, told: log.feed().by(1)),
        (("--nobody", "--verb", "insert"), lambda log, told: log.feed().by(None).verb("insert")),
    ],
)
def test_log_and_export_give_what_the_api_gives(told, options, ask):
    if "managers" in options:
        wanted = [change.id for change in told.log.feed() if change.table in ("users", "managers")]
    else:
        wanted = [change.id for change in ask(told.log, told)]
    assert addresses(objects(told, "log", *options, "--json")) == wanted
    *rows, end = objects(told, "export", *options)
    assert (addresses(rows), end["_meta"]["rows"], end["_meta"]["complete"]) == (wanted, len(wanted), True)


@pytest.fixture
def in_tokyo(monkeypatch):
    """The clock of the machine is nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


def test_a_period_is_on_the_clock_of_the_machine_unless_it_has_a_zone(told, in_tokyo):
    local = [moment.astimezone().replace(tzinfo=None).isoformat() for moment in told.times[:2]]
    for since, until in ([moment.isoformat() for moment in told.times[:2]], local):
        rows = objects(told, "log", "--since", since, "--until", until, "--json")
        assert [row["reason"] for row in rows] == ["sale"]
    assert "+09:00 " in printed(told, "log", "--limit", "1")[1]


def test_the_log_is_a_line_for_what_happened_and_one_for_the_values(told):
    code, output = printed(told, "history", *THE_THING, "--touching", "price", "--limit", "2")
    assert code == 0
    lines = output.splitlines()
    assert [" ".join(line.split()[2:]) for line in lines[::2]] == [
        f"{change.id} {change.verb} {' '.join(THE_THING)}, {who}"
        for change, who in zip(told.log.history(told.Thing, THING).touching("cost"), ("nobody", "Ann (1): sale"))  # noqa: B905
    ]
    assert lines[3] == "    price 10.00 -> 12.50, color RED -> BLUE, owner_id NULL -> 1"
    assert lines[1].endswith("tags [1, 2], 4 more")


def test_show_has_the_context_of_a_transaction_and_the_whole_of_a_change(told):
    change = told.log.history(told.Thing, THING).touching("data").verb("update").first()
    number = str(change.transaction.id)
    code, output = printed(told, "show", change.id)
    assert (code, "actor        Ann (1)" in output) == (0, True)
    assert output.endswith('data\n- {"audit_logger": [1.5]}\n+ null\npin\n- (masked)\n+ (masked)\n')
    (whole,) = objects(told, "show", number, "--json")
    assert (whole["transaction"], whole["actor"], len(whole["changes"])) == (change.transaction.id, "Ann", 2)
    (part,) = objects(told, "show", number, "--limit", "1", "--json")
    assert (len(part["changes"]), part["complete"], whole["complete"]) == (1, False, True)
    sale = next(change for change in told.log.feed() if change.transaction.reason)
    assert f"transaction {sale.transaction.id}\n" in printed(told, "show", str(sale.transaction.id))[1]
    assert "  reason       sale\n" in printed(told, "show", str(sale.transaction.id))[1]


def test_who_acted_in_a_job_or_a_command_is_named_with_it(shop):
    context = shop.app.extensions["audit_logger"].context
    for key, (facts, said) in enumerate(
        (
            ({"actor": "7", "job": "shelf mover"}, "7, job shelf mover"),
            ({"actor": None, "job": "shelf mover"}, "job shelf mover"),
            ({"actor": "7", "impersonator": "8", "command": "import"}, "7, by 8, command import"),
        )
    ):
        with context(**facts):
            number = commit(shop, shop.Product(id=9000 + key, price=1))
        assert f", {said}\n" in audit(shop, "log", "--limit", "1")[1]
        assert f"  actor        {said}\n" in audit(shop, "show", number)[1]
    commit(shop, sa.delete(shop.Product).where(shop.Product.id >= 9000))


def test_as_of_names_what_is_not_known_and_fails_where_there_was_none(told):
    times = [moment.isoformat() for moment in told.times]
    (then,) = objects(told, "as-of", *THE_THING, times[1], "--json")
    assert {name: then["record"][name] for name in ("price", "color", "owner_id", "tags", "at")} == {
        "price": 12.5,
        "color": "BLUE",
        "owner_id": 1,
        "tags": [1, 2],
        "at": "2026-03-01T12:00:00+00:00",
    }
    assert then["unknown"] == {"pin": "masked", "note": "not logged"}
    code, output = printed(told, "as-of", *THE_THING, times[0])
    assert (code, "  price: 10.00\n" in output, "  pin: (masked)\n" in output) == (0, True, True)
    assert printed(told, "as-of", "managers", "1", times[0])[1].endswith("budget: 5.00\n")
    code, output = printed(told, "as-of", *THE_THING, times[3])
    assert (code, "There was no store.things" in output) == (1, True)
    code, output = printed(told, "as-of", *THE_THING, "2020-01-01")
    assert (code, "begins at" in output) == (1, True)


def test_an_export_is_a_whole_file_or_none(told, tmp_path, monkeypatch):
    path = tmp_path / "changes.csv"
    assert printed(told, "export", "-o", str(path), "--table", "users", "--by-field", "--bom") == (0, "")
    data = path.read_bytes()
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert data.startswith(b"\xef\xbb\xbf")
    assert [(row["column"], row["old_state"], row["new"]) for row in rows] == [
        ("id", "absent", "1"), ("name", "absent", "Ann"), ("kind", "absent", "manager"),
    ]  # fmt: skip
    monkeypatch.setattr("flask_audit_logger.history.log_commands.csv_lines", lambda *rest, **options: iter([1]))
    with pytest.raises(AttributeError):
        printed(told, "export", "-o", str(path))
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (data, [path])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("log", "--table", "notes"), 2, "'notes' is no audited table; there are managers, parts, users, store.things"),
        (("log", "--actor", "x"), 2, "can't be the id of an actor"),
        (("log", "--actor", "1", "--nobody"), 2, "exclude each other"),
        (("as-of", "users", "1", "2999-01-01"), 2, "which is to come"),
        (("log", "--since", "yesterday"), 2, "write it as 2026-11-27"),
        (("log", "--bind", "other"), 2, "There is no log of a bind 'other'"),
        (("history", "users", "x"), 2, "'x' can't be a value of public.users.id (INTEGER)"),
        (("history", "users", "1", "2"), 2, "The key of public.users is id, not 1 2"),
        (("history", "users", "1", "--touching", "nothing"), 2, "public.users has no column 'nothing'"),
        (("history", "users", "77"), 1, "The log has no such change"),
        (("show", "99999999"), 1, "no transaction 99999999"),
        (("show", "99999999.1"), 1, "no change 99999999.1"),
        (("show", "x"), 2, "neither a transaction, as 120, nor a change, as 120.4711"),
        (("revert", "99999999"), 1, "no transaction 99999999"),
        (("revert", "99999999.1"), 1, "no change 99999999.1"),
        (("revert", "users", "1"), 2, "TABLE KEY --to TIME"),
        (("revert", "1", "--to", "2026-01-01"), 2, "TABLE KEY --to TIME"),
        (("revert", "1", "--only", "nothing"), 2, "no column 'nothing'"),
        (("revert", "1", "--sql", "--apply"), 2, "--sql runs nothing"),
        (("export", "--bom"), 2, "give --format csv"),
    ],
)
def test_an_error_names_the_thing_and_the_next_step(told, arguments, code, said):
    found = printed(told, *arguments)
    assert (found[0], said in found[1]) == (code, True), found[1]


def test_colours_are_for_a_terminal_whose_owner_wants_them(told, monkeypatch):
    assert "\x1b[" not in printed(told, "log", "--limit", "1")[1]
    assert "\x1b[31mdelete\x1b[0m" in printed(told, "log", "--limit", "1", color=True)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in printed(told, "log", "--limit", "1", color=True)[1]


def test_a_value_commands_no_terminal(shop):
    number = commit(shop, shop.Product(id=1, name="\x1b[2J\u202eevil\nline", price=1))
    change = number + "." + str(json.loads(audit(shop, "log", "--limit", "1", "--json")[1])["id"])
    for arguments in (("log",), ("show", number), ("show", change), ("as-of", "products", "1", shop_now(shop))):
        code, output = audit(shop, *arguments)
        assert code == 0
        assert not set(output) & {"\x1b", "\u202e"}
    assert "+ \\u001b[2J\\u202eevil\n+ line\n" in audit(shop, "show", change)[1]


def test_revert_shows_and_writes_only_when_told(shop):
    commit(shop, *(shop.Product(id=number, name="x", price=number) for number in (11, 12, 13)))
    mistake = commit(shop, update(shop.Product).values(price=0))
    before = prices(shop)
    code, output = audit(shop, "revert", mistake)
    assert (code, "set back (price)" in output, "Nothing was written. With --apply" in output) == (0, True, True)
    code, output = audit(shop, "revert", mistake, "--sql")
    assert (code, output.endswith("ROLLBACK;\n"), output.count("UPDATE")) == (0, True, 1)
    assert prices(shop) == before
    code, output = audit(shop, "revert", mistake, "--apply", "--reason", "wrong list", "--json")
    done = json.loads(output)
    assert (code, done["applied"], done["groups"][0]["columns"]) == (0, True, ["price"])
    assert {number: price for number, price in prices(shop).items() if number > 10} == {11: 11, 12: 12, 13: 13}
    (shown,) = [json.loads(audit(shop, "show", str(done["transaction"]), "--json")[1])]
    assert {name: shown["context"][name] for name in ("undoes", "reason", "command")} == {
        "undoes": int(mistake),
        "reason": "wrong list",
        "command": "audit revert",
    }
    code, output = audit(shop, "revert", mistake)
    assert output.startswith(f"Already taken back by transaction {done['transaction']}.\n")
    assert (done["undone_by"], json.loads(audit(shop, "revert", mistake, "--json")[1])["undone_by"]) == (
        [],
        [done["transaction"]],
    )


def test_what_was_changed_since_stays_and_fails_the_command(shop):
    commit(shop, shop.Product(id=21, price=1), shop.Product(id=22, price=2))
    mistake = commit(shop, update(shop.Product).where(shop.Product.id > 20).values(price=0))
    commit(shop, update(shop.Product).where(shop.Product.id == 22).values(price=9))
    for arguments, said in [
        ((), "products: 1 (changed since): 22"),
        (("--apply",), "With --skip-conflicts the rest"),
        (("--sql",), "-- NOT TAKEN BACK: products: 1 (changed since): 22\n"),
    ]:
        code, output = audit(shop, "revert", mistake, *arguments)
        assert (code, said in output) == (1, True), output
        assert (prices(shop)[21], prices(shop)[22]) == (0, 9)
    code, output = audit(shop, "revert", mistake, "--apply", "--skip-conflicts")
    assert (code, "Taken back in transaction" in output) == (1, True)
    assert (prices(shop)[21], prices(shop)[22]) == (1, 9)


def test_a_record_goes_back_to_a_time_with_a_key_of_several_columns(shop):
    commit(shop, shop.Line(order="a b", place=1, number=5))
    then = shop.db.session.scalar(select(sa.func.clock_timestamp())).isoformat()
    commit(shop, update(shop.Line).values(number=6))
    key = ("lines", "a b", "1")
    (line,) = audit(shop, "history", "lines", '["a b", "1"]', "--limit", "1", "--json")[1].splitlines()
    assert json.loads(line)["key"] == ["a b", "1"]
    assert "lines 'a b' 1," in audit(shop, "history", *key)[1]
    code, output = audit(shop, "revert", *key, "--to", then, "--apply")
    assert (code, "Taken back" in output) == (0, True)
    assert json.loads(audit(shop, "as-of", *key, then, "--json")[1])["record"]["number"] == 5
    assert shop.db.session.scalar(select(shop.Line.number)) == 5
    shop.db.session.rollback()
    code, output = audit(shop, "revert", *key, "--to", shop_now(shop))
    assert (code, "There is nothing to take back." in output) == (0, True)


def shop_now(shop):
    found = shop.db.session.scalar(select(sa.func.clock_timestamp())).isoformat()
    shop.db.session.rollback()
    return found


def test_a_second_database_has_a_log_of_its_own(shop):
    shop.db.session.add(shop.Stock(id=1, number=5))
    shop.db.session.commit()
    shop.db.session.execute(update(shop.Stock).values(number=6))
    shop.db.session.commit()
    mistake = newest(shop, "--bind", "stock")
    assert newest(shop, "--table", "stock") == mistake
    lines = audit(shop, "history", "stock", "1")[1].splitlines()
    assert [line.split()[3] for line in lines[::2]] == ["update", "insert"]
    assert audit(shop, "revert", mistake, "--bind", "stock", "--apply")[0] == 0
    assert shop.db.session.scalar(select(shop.Stock.number)) == 5
    shop.db.session.rollback()
    code, output = audit(shop, "log", "--table", "stock", "--table", "products")
    assert (code, "in several databases" in output) == (2, True)


def test_what_is_taken_back_is_in_the_log_that_it_was_read_from(shop):
    """Ids begin at 1 in each log, so the same one means something else in another."""
    log, session = shop.app.extensions["audit_logger"], shop.db.session
    stock = log.models_of("stock").activity_cls
    session.add(shop.Stock(id=2, number=5))
    session.commit()
    session.get(shop.Stock, 2).number = 6
    session.commit()
    change = log.history(shop.Stock, 2).first()
    row = session.scalars(select(stock).order_by(stock.id.desc())).first()
    for target in (change, change.transaction, row):
        assert [group.table.name for group in log.revert(target).preview().groups] == ["stock"]


def test_a_table_without_a_class_has_changes_but_no_objects(shop):
    commit(shop, sa.insert(shop.tags).values(id=1))
    assert audit(shop, "history", "tags", "1")[0] == 0
    code, output = audit(shop, "as-of", "tags", "1", shop_now(shop))
    assert (code, "No class is mapped to public.tags" in output) == (2, True)


def test_a_value_that_its_column_no_longer_knows_is_told_as_it_is_logged(shop):
    stock = shop.Stock.__table__
    bind = shop.db.engines["stock"]
    with bind.begin() as connection:
        connection.execute(sa.text("INSERT INTO stock (id, number, kind) VALUES (9, 1, 'rent')"))
    log = shop.app.extensions["audit_logger"]
    (change,) = log.history(shop.Stock, 9)
    assert (change.after["kind"], change.after["number"]) == ("rent", 1)
    with bind.connect() as connection:
        now = connection.scalar(select(sa.func.clock_timestamp())).isoformat()
    code, output = audit(shop, "as-of", stock.name, "9", now)
    assert (code, "doesn't fit the type" in output) == (1, True), output
