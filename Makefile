# Everything a developer needs, from a plain python3 (3.11 or newer):
#
#   make demo          serve the example shop on http://127.0.0.1:5000 (another port: make demo PORT=5001)
#   make test          lint, types, tests on current versions, on the oldest supported ones, and the tests of
#                      migrations on the releases of Alembic between them that call us differently
#   make lint          ruff and mypy only
#   make bench         compare the cost of auditing with no audit, with the floor and with release 2.0.0
#   make bench-pages   time the pages on a log of two million changes
#   make screenshots   pictures of the example's pages into screenshots/; also those of the documentation, if
#                      IMAGES=docs/images is given
#   make coverage      branch coverage of one test run
#   make translations  collect the texts of the pages, bring the catalogues up to date and compile them
#   make clean         remove the environments, caches and pictures (the demo's data in instance/ stays)
#
# Variables: PYTHON (default python3), PORT, PG_BINDIR (PostgreSQL binaries for the run on the oldest
# versions, default: the oldest of Debian's that is installed, configured as on Debian), PYTEST_ARGS, JOBS (test processes).

PYTHON ?= python3
PORT ?= 5000
JOBS ?= 2
PG_BINDIR ?= $(firstword $(sort $(dir $(wildcard /usr/lib/postgresql/*/bin/postgres))))

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
OLDEST := .venv-oldest
OLD_PACKAGES := .venv-old
# Alembic 1.18 sorts what autogenerate calls, 1.17 doesn't.
ALEMBICS := 1.17 1.18
CATALOGUES := flask_audit_logger/translations
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test test-current test-oldest test-alembic old-packages lint format coverage screenshots translations bench \
    bench-pages clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.example
	$(VENV)/bin/python -m example_app --port $(PORT)

test: lint test-current test-oldest test-alembic

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

test-current: $(VENV)/.dev old-packages
	AUDIT_TEST_DRIVER=psycopg2 $(VENV)/bin/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

test-oldest: $(OLDEST)/.dev old-packages
	AUDIT_TEST_DRIVER=psycopg AUDIT_TEST_ONE_DRIVER=1 AUDIT_TEST_PG_BINDIR=$(PG_BINDIR) \
	$(OLDEST)/bin/python -m pytest -n $(JOBS) -m 'not slow and not browser' $(PYTEST_ARGS)

test-alembic: $(ALEMBICS:%=.venv-alembic-%/.dev)
	@for version in $(ALEMBICS); do \
	    .venv-alembic-$$version/bin/python -m pytest -n $(JOBS) -m 'not slow' tests/alembic $(PYTEST_ARGS); \
	done

# The packages that we take over from, in an environment of their own, for the tests that let them write a log first.
old-packages: $(OLD_PACKAGES)/.dev

coverage: $(VENV)/.dev
	$(VENV)/bin/python -m pytest -n $(JOBS) --cov --cov-report=term --cov-report=html $(PYTEST_ARGS)

screenshots: $(VENV)/.dev
	$(VENV)/bin/python -m tests.support.screenshots screenshots $(if $(IMAGES),--docs $(IMAGES))

# A text that is new has no translation yet: write it into the .po file, then run this once more.
translations: $(VENV)/.dev
	$(VENV)/bin/pybabel -q extract -F pyproject.toml -k lazy_gettext -k marked --no-location --sort-output --no-wrap \
	    --project flask-audit-logger --version 3 --header-comment '# Texts of the pages of Flask-Audit-Logger.' \
	    -o $(CATALOGUES)/audit.pot .
	$(VENV)/bin/pybabel -q update -D audit -i $(CATALOGUES)/audit.pot -d $(CATALOGUES) --no-fuzzy-matching --no-wrap \
	    --ignore-obsolete --ignore-pot-creation-date
	$(VENV)/bin/pybabel -q compile -D audit -d $(CATALOGUES)

bench: $(VENV)/.dev
	$(VENV)/bin/python -m benchmarks $(BENCH_ARGS)

bench-pages: $(VENV)/.dev
	$(VENV)/bin/python -m benchmarks.pages $(BENCH_ARGS)

clean:
	rm -rf .venv .venv-* build dist htmlcov screenshots .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

# An environment is a folder; the files in it say which extras it has and are older than a changed pyproject.toml.
define make_venv
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed; $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % v[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo '$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@test -x $(1)/bin/python || { echo 'Making the virtual environment $(1)'; $(PYTHON) -m venv $(1); }
endef

$(VENV)/.example: pyproject.toml
	$(call make_venv,$(VENV))
	@echo 'Installing the package and what the example needs into $(VENV)'
	@$(VENV)/bin/python $(PIP) -e '.[example]'
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(call make_venv,$(VENV))
	@echo 'Installing the package and its tools into $(VENV)'
	@$(VENV)/bin/python $(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.example

$(OLDEST)/.dev: pyproject.toml tests/oldest.txt
	$(call make_venv,$(OLDEST))
	@echo 'Installing the package with the oldest supported versions into $(OLDEST)'
	@$(OLDEST)/bin/python $(PIP) -e '.[dev]' -c tests/oldest.txt
	@touch $@

.venv-alembic-%/.dev: pyproject.toml
	$(call make_venv,.venv-alembic-$*)
	@echo 'Installing the package with Alembic $* into .venv-alembic-$*'
	@.venv-alembic-$*/bin/python $(PIP) -e '.[dev]' alembic-utils 'alembic==$*.*'
	@touch $@

$(OLD_PACKAGES)/.dev:
	$(call make_venv,$(OLD_PACKAGES))
	@echo 'Installing flask-audit-logger 2.0.0 and postgresql-audit 0.18 into $(OLD_PACKAGES)'
	@$(OLD_PACKAGES)/bin/python $(PIP) 'flask-audit-logger==2.0.0' 'postgresql-audit==0.18.0' 'alembic<1.18' \
	    Flask-Migrate Flask-Login psycopg2-binary
	@touch $@
