# Everything runs in .venv, which the targets set up themselves; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Where torch comes from, such as TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# More arguments for pytest, such as ARGS="-k splits" or ARGS="-m 'not network'"
ARGS ?=

# The plugins that come with tabcf, each a package of its own
PLUGINS := $(patsubst %/pyproject.toml,./%,$(wildcard plugins/*/pyproject.toml))

RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
DOCS := $(VENV)/.docs

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help dev demo test check format docs schema bench clean

help: ## List all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

dev: $(DEV) ## Set up .venv for development, with the plugins in plugins/

demo: $(RUNTIME) ## Fit two recommenders on MovieLens and show what they learnt
	$(BIN)/tabcf demo

# One torch thread in each of the two workers: more of them only wait for one another.
test: $(DEV) ## Run the tests; ARGS="-k splits" picks some
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(DEV) ## Lint, format, types, and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## Rewrite the code in its normal form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS) ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

schema: $(RUNTIME) ## Write tabcf.schema.json, with which editors check a spec
	$(BIN)/tabcf schema > tabcf.schema.json

bench: $(DEV) ## Measure speed side by side with peers
	@set -e; for script in benchmarks/vs_*.py; do \
	  test -e "$$script" || { echo "no benchmarks/vs_*.py here"; exit 1; }; \
	  echo "$$script"; OMP_NUM_THREADS=1 $(BIN)/python "$$script"; \
	done

clean: ## Remove .venv, caches and everything built; runs/ stays
	rm -rf $(VENV) build dist site tabcf.schema.json
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find tabcf tests docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian keeps pip's seed in the package python3-venv; without it, an installed pip fills .venv.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tabcf needs Python 3.11 or newer, and $(PYTHON) is older or missing;" \
	    "name another one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	  $(PYTHON) -m venv $(VENV); \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -m venv --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; \
	else \
	  echo "$(PYTHON) has neither the venv module's ensurepip nor pip; on Debian:" \
	    "sudo apt install python3-venv" >&2; exit 1; \
	fi

# torch goes first and alone, so that its version and its index are those named here.
$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) install -c constraints.txt -e '.[fast]'
	@touch $@

$(DEV): $(RUNTIME) $(wildcard plugins/*/pyproject.toml)
	$(PIP) install -c constraints.txt -e '.[dev]'
	$(PIP) install -c constraints.txt $(addprefix -e ,$(PLUGINS))
	@$(PIP) install --quiet -c constraints.txt -e '.[ann]' || \
	  echo "hnswlib was not built, which takes a C++ compiler; its tests are skipped" >&2
	@touch $@

$(DOCS): $(RUNTIME)
	$(PIP) install -c constraints.txt -e '.[docs]'
	@touch $@
