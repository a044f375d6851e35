# Everything a newcomer types. Each target installs what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
LIMIT ?= 60

.PHONY: install demo test lint types docs prove mutants bench real-models clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned packages into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev -e .
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/sparsity demo --out demo-run

# Checks that take one core each run side by side.
test: $(STAMP)
	@$(MAKE) --no-print-directory -j $(WORKERS) types docs lint
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not long"
	$(BIN)/python -m tests.kernels

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/pyright

# The site is a folder: open build/site/index.html. Nothing is loaded from the network, and a warning is an error (with
# --quiet it would not be counted).
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "documentation: build/site/index.html (with search: $(BIN)/python -m http.server -d build/site)"

prove: $(STAMP)
	$(BIN)/python -m tests.prove

# Not in the gate: plants the faults of tests/mutants.toml one at a time and says which the tests notice.
mutants: $(STAMP)
	$(BIN)/python -m tests.mutants

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

# Not in the gate: MODELS holds Hugging Face folders, DATA local copies of public tasks and texts (see docs/real-models.md).
real-models: $(STAMP)
	$(BIN)/python -m tests.real_models --models "$(MODELS)" --data "$(DATA)" --limit $(LIMIT)

clean:
	rm -rf $(VENV) build dist demo-run .pytest_cache .ruff_cache .hypothesis .import_linter_cache
