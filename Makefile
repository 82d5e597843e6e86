# Everything runs in .venv, which is made from requirements.lock when it is missing or out of date.
#   PYTHON=/path/to/python3.11   the Python to make it with
#   ARGS="..."                   more arguments for test, demo, prove, bench and lock
#   JOBS=2                       how many test processes run side by side

.DEFAULT_GOAL := help
.PHONY: help venv lock fmt lint types floors test test-browser check demo prove bench changelog clean

VENV := .venv
BIN := $(VENV)/bin
CODE = $(wildcard src tests bench docs/examples)
JOBS ?= 2
PROMTOOL := build/promtool/usr/bin
ARGS ?=
PIP_INSTALL := install --disable-pip-version-check --no-input -qq
IS_NEW_ENOUGH := 'import sys; sys.exit(sys.version_info < (3, 11))'

# The first Python of 3.11 or newer that really starts.
PYTHON ?= $(shell for each in python3.11 python3 python3.12 python3.13; do \
	$$each -c $(IS_NEW_ENOUGH) 2>/dev/null && echo $$each && break; done)

# What the caller's shell says about other environments must not reach this one.
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_CONSTRAINT PIP_REQUIREMENT

help: ## Lists what there is to make.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## Makes the environment with exactly the locked packages and this project in it.

lock: venv ## Writes requirements.lock anew from pyproject.toml, ARGS=--upgrade for the newest of everything.
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-annotate --custom-compile-command "make lock" -o requirements.lock -q $(ARGS)

fmt: venv ## Formats the code and mends what can be mended without a decision.
	@$(BIN)/ruff check --fix-only -q $(CODE)
	@$(BIN)/ruff format $(CODE)

lint: venv ## Checks style and formatting.
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

types: venv ## Checks the types, strictly.
	@$(BIN)/mypy $(CODE)

floors: venv ## Checks that every import goes down the floors of the house and none goes where it must not.
	@$(BIN)/lint-imports --no-cache --no-logo

test: venv $(PROMTOOL) ## Runs every test but those in a browser; those on a real PostgreSQL start it themselves.
	@PATH="$(CURDIR)/$(PROMTOOL):$$PATH" $(BIN)/pytest -n $(JOBS) --ignore tests/browser $(ARGS)

test-browser: venv ## Looks at every page in a real Chromium, which comes from Debian where it is missing; pictures in build/.
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
		echo "Installing Chromium from the distribution; this takes a minute, once."; \
		as_root() { if [ "$$(id -u)" = 0 ]; then "$$@"; else sudo -n "$$@"; fi; }; \
		as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null || { \
			echo "Install Chromium first: apt-get install chromium, or what your system calls it." >&2; exit 1; }; }
	@$(BIN)/pytest tests/browser $(ARGS)

check: lint types floors test test-browser ## Does all that a change must pass.

demo: venv ## Starts both sides with a pretend bank, site and carrier and prints a curl to paste.
	@exec $(BIN)/cardtrail sandbox $(ARGS)

prove: venv ## Plays rounds of faults and kills for 20 minutes and judges them by the laws; ARGS="--minutes 5" for less.
	@exec $(BIN)/python -m tests.prove $(ARGS)

bench: venv ## Measures against bare floors and peers and prints a table of ratios.
	@$(BIN)/python -m bench $(ARGS)

changelog: venv ## Shows what the next release's part of the changelog will say.
	@$(BIN)/towncrier build --draft

clean: ## Takes away the environment and everything else that can be made again.
	@rm -rf $(VENV) bench/.venv bench/.data bench/peers/*/node_modules dist build
	@rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(BIN)/python -m pip $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# Made from nothing each time, so that a package which left the lock leaves the environment too.
$(VENV)/.locked: requirements.lock
	@"$(or $(PYTHON),false)" -c $(IS_NEW_ENOUGH) || { \
		echo "cardtrail needs Python 3.11 or newer, found: $(or $(PYTHON),none). Name one: make PYTHON=/path/to/it" >&2; \
		exit 1; }
	@echo "Making $(VENV) from requirements.lock; this takes a minute, once."
	@if "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then \
		"$(PYTHON)" -m venv --clear $(VENV); \
	elif "$(PYTHON)" -m pip --version >/dev/null 2>&1; then \
		"$(PYTHON)" -m venv --clear --without-pip $(VENV) && \
		"$(PYTHON)" -m pip --python $(BIN)/python $(PIP_INSTALL) pip; \
	else \
		echo "$(PYTHON) has neither ensurepip nor pip; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; \
	fi
	@$(BIN)/python -m pip $(PIP_INSTALL) --require-hashes -r requirements.lock
	@touch $@

# promtool tests the alert rules. Where it is missing it is taken out of Debian's package, which is not installed; where
# that cannot be had either, two tests say so.
$(PROMTOOL):
	@mkdir -p $@
	@command -v promtool >/dev/null || { cd build/promtool && { \
		apt-get download -qq prometheus || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get download -qq prometheus; }; \
		} >/dev/null 2>&1 && dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb; } || \
		echo "promtool is missing: the alert rules are checked by their structure only."
