"""Promise: the pages fit into the layout of an application, which can be replaced by name."""

from __future__ import annotations

import jinja2

from tests.ui.shop import make_history


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
