# One page of commands; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_FILES ?= 100000
FUZZ_ARGS ?= --max-examples 60 --seed 1 --continue-on-failure

# Small convolutions lose by threads: we parallelise by processes, one thread each.
export OMP_NUM_THREADS := 1
export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test check fmt docs fuzz fuzz-files build clean screenshots test-data test-images test-browser

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv and install everything into it

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (some minutes the first time) ..."
	@$(BIN)/python -m pip install -qq -c constraints.txt -e ".[serve,engines,ray,dev]"
	@touch $@
	@echo "installed: $$($(BIN)/python -c 'import automl_compress as a; print("automl-compress", a.__version__)')"

demo: install ## search a policy for a real network through the real service, two minutes
	@$(BIN)/automl-compress demo

test: install test-data check ## everything that guards the tree: check, then the tests
	$(BIN)/python -m pytest -p xdist -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

# Debian packages; the tests that need them skip, saying so, where they are absent.
test-data: test-images test-browser

test-images:
	@if test -d /usr/share/datasets/fashion-mnist; then :; \
	elif test "$$(id -u)" != 0; then echo "Fashion-MNIST not installed: needs root; its tests skip"; \
	elif ! command -v apt-get >/dev/null; then echo "Fashion-MNIST not installed: no apt-get; its tests skip"; \
	elif apt-get install -qq -y dataset-fashion-mnist >/dev/null 2>&1 </dev/null \
	  || { apt-get update -qq && apt-get install -qq -y dataset-fashion-mnist; } >/dev/null 2>&1 </dev/null; \
	then echo "Fashion-MNIST installed from Debian"; \
	else echo "Fashion-MNIST not installed: apt-get could not; its tests skip"; fi

test-browser:
	@if command -v chromium >/dev/null; then :; \
	elif test "$$(id -u)" != 0; then echo "Chromium not installed: needs root; the browser tests skip"; \
	elif ! command -v apt-get >/dev/null; then echo "Chromium not installed: no apt-get; the browser tests skip"; \
	elif apt-get install -qq -y chromium >/dev/null 2>&1 </dev/null \
	  || { apt-get update -qq && apt-get install -qq -y chromium; } >/dev/null 2>&1 </dev/null; \
	then echo "Chromium installed from Debian"; \
	else echo "Chromium not installed: apt-get could not; the browser tests skip"; fi

check: install ## lint, format, types, import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

fmt: install ## format and mend what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: install ## write what is generated of docs/: tables of options, benchmarks, pictures
	$(BIN)/python -m docs.option_tables
	$(BIN)/python -m benchmarks.render

fuzz: install ## the long form of the interface's fuzzing: schemathesis, every phase and check
	$(BIN)/python -m tests.api.fuzzing $(FUZZ_ARGS)

fuzz-files: install ## read 100,000 changed .pt2 and as many .amlc files, watched; FUZZ_FILES=... for fewer
	$(BIN)/python -m tests.file_fuzzing --files $(FUZZ_FILES)

bench-%: install ## run benchmarks/NAME.py, writes benchmarks/results/NAME.json
	$(BIN)/python -m benchmarks.$(subst -,_,$*) $(BENCH_ARGS)

screenshots: install ## take every page of the service, light and dark, into build/screenshots
	$(BIN)/python -m tests.api.browser.screenshots

build: install ## wheel and sdist into dist/
	$(BIN)/python -m build --no-isolation

clean: ## remove what was built and cached, and the environment
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
