# Every target makes its own virtual environment when there is none, or when what it depends on has changed.
# make test VENV=.venv-ci    uses another folder for the environment
# make test PYTHON=python3.12    makes it with another Python

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BENCHMARKS ?=
# each process of the tests keeps to one core: threads of OpenBLAS that wait for each other would take those of the others
ONE_CORE := OPENBLAS_NUM_THREADS=1
QUICK_COMPILE := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true

BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
WRITTEN := $(VENV)/.installed-docs
DEVELOP := $(VENV)/.installed-develop
REQUIREMENTS := pyproject.toml constraints.txt

.PHONY: environment demo test test-slow stress compare-r coverage mutants lint docs package package-check bench bench-quick clean

# what all targets of .ci/run need, so that they can run side by side
environment: $(DEVELOP) $(WRITTEN)

demo: $(RUNTIME)
	$(BIN)/python examples/hsb_vignette.py

# programs are compiled without LLVM's optimiser here, which halves the time; test-slow, demo and benchmarks compile as users do;
# each process gets its folders in one piece, which share programs, and who is done takes tests from the other's end
test: $(DEVELOP)
	$(ONE_CORE) XLA_FLAGS="$(QUICK_COMPILE)" $(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist worksteal

test-slow: $(DEVELOP)
	$(ONE_CORE) $(BIN)/python -m pytest -m slow -n $(JOBS) --dist loadfile

stress: $(DEVELOP)
	$(BIN)/python tests/stress.py docs/stress.md

compare-r: $(DEVELOP)
	$(BIN)/python benchmarks/compare_r.py

coverage: $(DEVELOP)
	rm -f .coverage
	set -e; for part in $(filter-out tests/slow/,$(sort $(dir $(wildcard tests/*/test_*.py)))) tests/test_*.py; do \
	  XLA_FLAGS="$(QUICK_COMPILE)" $(BIN)/python -m pytest -q -m "not slow" --cov --cov-append --cov-report= $$part; \
	done
	$(BIN)/coverage report --fail-under=94

# mutants of the code that the tests must notice; hours of one core from scratch
mutants: $(DEVELOP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[mutants]"
	XLA_FLAGS="$(QUICK_COMPILE)" $(BIN)/python tests/mutants.py run
	$(BIN)/python tests/mutants.py page

lint: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(WRITTEN)
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict --quiet

package: $(WRITTEN)
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

# on every Python 3.11 to 3.13 that is found, with the newest and the oldest libraries: takes a quarter of an hour
package-check:
	.ci/package-check

bench: $(RUNTIME)
	$(BIN)/python benchmarks/suite.py $(BENCHMARKS)
	$(BIN)/python benchmarks/page.py
	$(BIN)/python benchmarks/tables.py --write

bench-quick: $(RUNTIME)
	$(BIN)/python benchmarks/suite.py --quick $(BENCHMARKS)

clean:
	rm -rf $(VENV) .bench .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): $(REQUIREMENTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(DEVELOP): $(REQUIREMENTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,lint,dask,tables]"
	touch $(RUNTIME) $@

$(WRITTEN): $(REQUIREMENTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]" build twine
	touch $(RUNTIME) $@
