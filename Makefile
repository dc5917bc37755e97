# Targets do all their own set-up in .venv; nothing else has to be installed first but Python 3.11-3.13.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

BIN := .venv/bin
CORES ?= all
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$name && break; done)
READY := .venv/.ready

.PHONY: help env now test lint settings clean

help: ## Show this help
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | while IFS=$$'\t' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

env: $(READY) ## Fill .venv with the pinned requirements and this package

$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make env: needs Python 3.11, 3.12 or 3.13; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(BIN)/python -m compileall -q src
	@touch $@

now: env ## From photographs to results/now_eval.csv
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --cores $(CORES) results/now_eval.csv

test: env ## Run the tests on two processes
	$(BIN)/python -m pytest -n 2

lint: env ## Check style, import directions and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint

settings: env ## Write config.yaml, its schema and docs/settings.md from the typed settings
	$(BIN)/python -m facerecon.settings_documents .

clean: ## Remove results and logs
	rm -rf results logs .snakemake
