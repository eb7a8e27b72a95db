"""How ``make docs`` builds the pages of this folder."""

import re
from importlib.metadata import version as version_of

project = "flask-audit-logger"
copyright = "2026, the flask-audit-logger maintainers"
release = version_of(project)
version = release.partition(".dev")[0]

extensions = ["myst_parser", "sphinx.ext.autodoc", "pallets_sphinx_themes"]
# Links to headings are checked like all others, by the names that a browser of the repository gives them, too.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False

html_theme = "flask"
html_title = f"{project} {release}"
html_theme_options = {"globaltoc_maxdepth": 1}
html_sidebars = {"**": ["globaltoc.html", "searchbox.html"]}
# Without the extension for mermaid, which loads a script from elsewhere, the picture of the architecture is its text.
suppress_warnings = ["misc.highlighting_failure"]

#: A link to a document of the repository that is no page here.
OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+[\w/.-]+\.md(?:#[\w-]*)?\)")


def _without_links_outside(_app, name, source):
    """Leave the words of links that lead out of this folder, as there is no address yet to point to."""
    inside = name.startswith("decisions/")
    source[0] = OUTSIDE.sub(lambda m: m[0] if inside and _is_page(m[0]) else m[1], source[0])


def _is_page(link):
    return re.search(r"\(\.\./[\w-]+\.md", link) is not None and "../../" not in link


def setup(app):
    app.connect("source-read", _without_links_outside)
