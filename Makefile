.PHONY: install test test-all mutants operations options docs lint format bench demo wheel

PYTHON ?= python

install:
	$(PYTHON) -m pip install -e ".[dev,docs,notebook,test]"

test:
	$(PYTHON) -m pytest -n 2 tests

test-all:
	$(PYTHON) -m pytest -n 2 tests --all

# Breaks the package in one place at a time; every time a test must fail. Half an hour.
mutants:
	$(PYTHON) tests/mutants.py --output benchmarks/mutants.json

# After a new TensorFlow: which of its operations a SavedModel may consist of. Read the difference.
operations:
	$(PYTHON) tests/allowed_operations.py

# Writes docs/options.md from the options of commands.
options:
	$(PYTHON) tests/test_options.py

# The guides and the reference as a site, in site/; broken links are errors.
docs:
	$(PYTHON) -m mkdocs build --strict

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -q tests/test_architecture.py

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

# Needs BENCH_DATA, BENCH_ENCODER, BENCH_WEIGHTS, BENCH_PEER_PYTHON: see benchmarks/README.md.
bench:
	@for name in frozen fine_tuning token_tasks prediction first_step boundary scaling equality \
		profile_step safety; do \
		echo "== $$name"; $(PYTHON) benchmarks/$$name.py || exit 1; done

demo:
	$(PYTHON) -m tfhub_transfer demo

wheel:
	$(PYTHON) -m build
