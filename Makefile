# Every target does its own set-up in .venv: python3.11+ and a package index are all it needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-slow lint tiny-models bench calibrate clean

setup: $(STAMP)

# Compiled bytecode matters: Ray starts a process per worker, and each would compile every import again.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "FairRay needs Python 3.11 or newer, found " + sys.version.split()[0] + ". Set PYTHON=python3.11 or newer.")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/fairray run examples/demo.yaml

# One thread a process, as in every worker: two test processes on two cores, and small matrices gain nothing from more.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --doctest-modules shards evaluator jobs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Trains the two shipped models anew from phantom data (about 15 minutes on two cores).
tiny-models: $(STAMP)
	$(BIN)/python -m evaluator.models.tiny.train

# Simulates people whose truth is known: do intervals cover, do tests keep their level? (about half an hour on two idle cores)
calibrate: $(STAMP)
	$(BIN)/python benchmarks/calibrate.py

bench: $(STAMP)
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
