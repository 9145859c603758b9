# Everything a developer does here. Needs Python 3.11+, pip, venv and make; uses uv where it is found.
.DEFAULT_GOAL := help
.PHONY: help setup serve test redis postgres kills lint types layers package check e2e e2e-llama bench docs lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help:  ## Show these commands
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv from requirements.lock and install Headgate into it

$(STAMP): requirements.lock pyproject.toml
	@scripts/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

serve: setup  ## Start Headgate on 127.0.0.1:8082, with its Prefect server
	@exec $(BIN)/headgate serve

test: setup  ## Run the test suite, and note which lines and branches it ran
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not e2e and not redis and not postgres and not kills and not llama" --cov --cov-branch --cov-report=json:.coverage.json

redis: setup  ## Run the tests that need redis-server (a Debian package of that name)
	$(BIN)/python -m pytest -m redis tests/coordinators tests/routers

postgres: setup  ## Run the tests that need PostgreSQL's server (the Debian package postgresql)
	$(BIN)/python -m pytest -m postgres tests/coordinators tests/routers tests/flows

kills: setup  ## Kill servers, workers and the database in the midst of batches, for some minutes
	$(BIN)/python -m pytest -m kills tests/e2e tests/headgate

lint: setup  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## Check types
	$(BIN)/mypy

layers: setup  ## Check that imports point one way
	$(BIN)/python -m pytest tests/test_layers.py

package: setup  ## Build the wheel and check what is in it
	$(BIN)/python scripts/check_wheel.py

coverage: setup  ## Check what the last `make test` covered
	$(BIN)/python scripts/check_coverage.py .coverage.json

check: test coverage lint types layers package  ## Run all of the checks above

e2e: setup  ## Drive Claude Code and a browser through Headgate
	$(BIN)/python -m pytest -m e2e tests/e2e

e2e-llama: setup  ## Ask llama.cpp's own server through Headgate; compiles it once, in a quarter of an hour
	$(BIN)/python -m tests.llama_cpp.install
	$(BIN)/python -m pytest -m llama tests/llama_cpp

bench: setup  ## Measure Headgate against the bare proxy and its peers
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.batches

docs: setup  ## Write the pages that are made from the code
	$(BIN)/python scripts/parameter_table.py

lock:  ## Resolve the dependencies again (needs uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --extra dev \
	  --no-emit-index-url --custom-compile-command "make lock" --upgrade pyproject.toml -o requirements.lock

clean:  ## Remove .venv and what the tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.json dist
