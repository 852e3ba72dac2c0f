# `make demo` sets up and runs the quickstart; `make test` sets up and checks everything. Both can be repeated.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test test-all lint types check clean

demo: .venv/installed
	$(BIN)/bench run

# Types beside the tests, whose waits leave a part of a core free.
test: .venv/installed lint
	$(MAKE) --jobs=2 types check

# The slow tests too: every method x label setting x balancing, hundreds of runs under random kills.
test-all: .venv/installed lint types
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

# Three workers, for CI's two cores: the tests of Slurm and of killed runs mostly wait.
check:
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow"

# The stamp is newer than what it was installed from, or the installation runs again.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4) and "bench needs Python 3.11.4 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[data,torchjd,dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
