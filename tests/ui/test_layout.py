"""Promise: the pages fit into the layout of an application, which can be replaced by name."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest

from flask_audit_logger.ui import RevertPolicy
from tests.support.documents import named
from tests.ui.everywhere import PACKAGE, addresses
from tests.ui.shop import ANN, make_history


def test_the_layout_can_be_the_applications(new_shop, tmp_path):
    (tmp_path / "mine.html").write_text(
        "<!doctype html><html><head><title>{% block audit_title %}{% endblock %}</title>"
        "{% block audit_head %}{% endblock %}"
        "</head><body><nav>{{ own }}</nav><div class='audit'>{% block audit_content %}{% endblock %}</div>"
        "{% block audit_scripts %}{% endblock %}</body></html>"
    )
    shop = new_shop(layout="mine.html")
    shop.application.app.jinja_loader = jinja2.FileSystemLoader(tmp_path)
    shop.application.app.context_processor(lambda: {"own": "My shop"})
    make_history(shop)
    html = shop.page("/")
    assert "<nav>My shop</nav>" in html and "Blue mug" in html and "<title>" in html and "audit.css" in html
    assert "<main" not in html
    assert "Content-Security-Policy" not in shop.get("/").headers  # the page is the application's


def test_a_layout_of_the_applications_replaces_ours_by_its_name(new_shop, tmp_path):
    """The Content-Security-Policy for pages of our own would take style and pictures from the application's layout."""
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "layout.html").write_text("<p>Mine</p>{% block audit_content %}{% endblock %}")
    shop = new_shop()
    app = shop.application.app
    assert "default-src 'none'" in shop.get("/").headers["Content-Security-Policy"]
    app.jinja_env.loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(tmp_path), app.jinja_env.loader])
    app.jinja_env.cache.clear()
    response = shop.get("/")
    assert response.text.startswith("<p>Mine</p>")
    assert "Content-Security-Policy" not in response.headers


@pytest.mark.slow
def test_s26_a_page_does_not_depend_on_the_templates_of_the_application(new_shop):
    """Autoescape off, trim_blocks on, filters and globals broken."""
    shop = new_shop(revert=RevertPolicy())
    env = shop.application.app.jinja_env
    env.autoescape, env.trim_blocks, env.lstrip_blocks = False, True, True
    env.globals["url_for"] = None
    env.filters["escape"] = env.filters["e"] = str
    make_history(shop)
    shop.change(ANN, "Product", 42, name="<b>bold</b>")
    change = shop.activity(record_key="42")
    values = {"activity_id": change.id, "transaction_id": change.transaction_id, "column": "description"}
    for path in (*addresses(shop, **values), "/?table=<b>bold</b>&since=<b>x</b>", "/nothing<b>"):
        with shop.get(path) as response:
            if "text/html" in response.content_type and response.request.path != "/audit/nothing<b>":
                assert "<b>bold" not in response.text and "<b>x" not in response.text, path
    assert "&lt;b&gt;bold" in shop.page("/")


def test_s26_templates_read_no_request():
    for template in (PACKAGE / "templates").rglob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"(?<![.\w])(request|session|g|config)[.|\[]|url_for|get_flashed", text), template


def test_the_layout_of_the_documentation(new_shop, tmp_path):
    """The six lines put the pages into a base of the application."""
    example = named(Path(__file__).parents[2] / "docs" / "pages.md")["layout"]
    assert "audit_content" in example
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "layout.html").write_text(example)
    (tmp_path / "base.html").write_text(
        "<title>{% block title %}{% endblock %}</title>{% block head %}{% endblock %}<b>Mine</b>"
        "{% block content %}{% endblock %}"
    )
    shop = make_history(new_shop())
    app = shop.application.app
    app.jinja_env.loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(tmp_path), app.jinja_env.loader])
    html = shop.page("/")
    assert html.startswith("<title>") and "<b>Mine</b>" in html and "Blue mug" in html
    assert "audit.css" in html and "audit.js" in html
