# `make demo` and `make test` need Python 3.11 or newer and make; everything else they install into .venv.
PYTHON ?= python3
BIN := .venv/bin

# Some containers forbid Python to keep what it compiled. Then every process compiles torch and timm anew, more than ten
# seconds of a core, and the tests start hundreds; pip compiles nothing, so that what is used is compiled, once.
export PYTHONDONTWRITEBYTECODE :=

INSTALLED := .venv/installed

.PHONY: demo figures test quick thorough verify hostile renew check same shape bench gpu docs format clean

demo: .venv/demo
	$(BIN)/alternet demo --out runs/demo

# What the demo needs and no more; `make test` adds the rest to the same environment
.venv/demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --no-compile --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

test: $(INSTALLED)
	bash scripts/browser.sh
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto  # the workers share the cores, torch must not take them all for each

# For the daily loop. What is slow or thorough is said by marks at the tests; see docs/verification.md.
quick: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -q -m "not slow and not thorough"

thorough: $(INSTALLED)
	bash scripts/browser.sh
	$(BIN)/python scripts/thorough.py

# Every instrument against its independent reference; writes the table of docs/verification.md
verify: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/references.py -n auto

# Bad inputs, interrupts, kills and simultaneous commands; writes the table of docs/promises.md (WHAT=inputs for a part)
hostile: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/hostile.py $(WHAT)

# The figures of the docs and the page that lists them, from committed tables
figures: $(INSTALLED)
	$(BIN)/python scripts/figures.py

# Newest versions of everything, tested, then written into constraints.txt and docs/licences.md
renew:
	: > constraints.txt
	$(MAKE) clean test
	$(BIN)/python scripts/supply.py

check: test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(MAKE) docs

# Does the code of another commit give the same bits? make same BASE=main~3 (QUICK=1 for less than a minute)
BASE ?= HEAD~1
same: $(INSTALLED)
	$(BIN)/python scripts/same.py $(BASE) $(if $(QUICK),--quick)

shape: $(INSTALLED)
	$(BIN)/python scripts/shape.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

# On a machine with a GPU, without the virtual environment: make gpu PYTHON=python3
gpu:
	PYTHONPATH=src$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) -m benchmarks.gpu

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv* site dist

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --no-compile --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev,docs,bench]'
	touch $@
