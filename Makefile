# Everything that a clone needs: Python 3.11 or newer and make; a C compiler makes the converter faster, nothing more.
#   make PYTHON=python3.13 test

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# An installation is redone when what is installed or compiled has changed; Python files are used where they are.
INSTALLED_FROM := pyproject.toml $(wildcard setup.py engine/*/*.pyx engine/*/*.pxd engine/*/*.pxi)
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev

# Each has servers of its own. Most tests wait more than they compute.
TEST_PROCESSES ?= 3

# The tests start hundreds of engines: their modules are compiled once, also where the shell says not to keep that.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(DEMO) ## Start real servers, seed a million users and migrate them
	$(BIN)/mongopg-tui demo

.PHONY: test
test: lint ## Check the code and run every test
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

.PHONY: coverage
coverage: $(DEV) ## Run the tests with branch coverage, engines and workers included, and say what is not covered
	rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest -n $(TEST_PROCESSES) --dist worksteal $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

.PHONY: lint
lint: $(DEV) ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(DEV) ## Put the code into the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(DEV) ## Measure against the floor of the two servers: make bench ARGS='--parts users'
	$(BIN)/python -m tests.bench $(ARGS)

.PHONY: faults
faults: $(DEV) ## Kill, cut and starve everything, and check that nothing is lost
	$(BIN)/python -m pytest tests/faults -m 'slow or not slow'

.PHONY: soak
soak: $(DEV) ## Random faults in real runs, from a seed: make soak ARGS='--minutes 30 --seed 7'
	$(BIN)/python -m tests.soak $(ARGS)

.PHONY: slow
slow: $(DEV) ## Run the tests that take too long for `make test`
	$(BIN)/python -m pytest -m slow

SECONDS ?= 1200
.PHONY: fuzz
fuzz: $(DEV) ## Search for batches that harm the native converter or census, SECONDS=1200 long
	$(PIP) install atheris cython
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

.PHONY: versions
versions: $(DEV) ## Run the engine's tests against every server version that packages have
	$(BIN)/python -m tests.versions $(ARGS)

DIR ?= specifications
.PHONY: specs
specs: $(DEV) ## Run the drivers' public specifications, files in DIR: make specs DIR=...
	$(BIN)/python -m tests.specs $(DIR)

.PHONY: snapshots
snapshots: $(DEV) ## Accept the screens as they look now
	$(BIN)/python -m pytest tests/tui --snapshot-update

.PHONY: docs
docs: $(DEV) ## Write the documents' reference tables from the code
	$(BIN)/python -m tests.docs

.PHONY: pictures
pictures: $(DEV) ## Make the documents' pictures from the real program
	$(BIN)/python -m tests.tui.pictures

.PHONY: clean
clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f snapshot_report.html
	find engine tui tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(DEMO): $(INSTALLED_FROM) | $(BIN)/python
	$(PIP) install --editable '.[demo]'
	@touch $@

$(DEV): $(INSTALLED_FROM) | $(BIN)/python
	$(PIP) install --editable '.[dev]'
	@touch $@ $(DEMO)
