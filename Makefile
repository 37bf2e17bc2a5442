# make demo   installs into .venv and audits the shipped checkpoints
# make test   the whole test suite, in the same .venv (with Triton, 1 GB)
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint examples clean
.DELETE_ON_ERROR:

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install -c constraints.txt -e .
	@touch $@

.venv/tested: .venv/installed
	$(PIP) install -c constraints.txt -e '.[test,triton]'
	@touch $@

demo: .venv/installed
	@BIN=$(BIN) sh examples/demo.sh

test: .venv/tested
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

examples: .venv/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/make_examples.py

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
