# One verb for each thing: `make help`. Everything installs into .venv inside this folder, at the versions of
# constraints.txt, once; a later run finds it there. Needs Python 3.11 or newer (choose one with PYTHON=...) and make.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
SOURCES := src tests bench
ARGS :=
IN_MEMORY := $(shell df -Pk /dev/shm 2>/dev/null | awk '$$1 == "tmpfs" && $$4 > 8000000 { print "/dev/shm" }')
PROCESSES := $(shell expr $$(getconf _NPROCESSORS_ONLN || echo 2) + 1)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.installed-demo ## A claim router is killed in the middle and finishes; KEEP=1 leaves everything running
	@KEEP="$(KEEP)" $(BIN)/rewake demo $(ARGS)

.PHONY: test
# Tests wait for other processes a third of their time, so one more runs than there are processors. Their engines commit
# to memory where it has room: a kill needs no disk, and each commit would wait for it.
test: $(VENV)/.installed-dev ## All tests; ARGS="-k name" for some of them, PROCESSES=0 in one process
	@$(BIN)/python -m compileall -q src tests  # or each of the processes that tests start compiles it
	@$(if $(IN_MEMORY),TMPDIR=$(IN_MEMORY)) $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist worksteal $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.installed-dev ## 20,000 simulated histories, half with liars, 1,000 with power cuts, then hostile inputs for MINUTES (60)
	@PYTHONPATH=src $(BIN)/python -m tests.simulation --count 10000
	@PYTHONPATH=src $(BIN)/python -m tests.simulation --count 10000 --liars
	@PYTHONPATH=src $(BIN)/python -m tests.simulation.power_cuts --count 1000
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),60) $(ARGS)

.PHONY: mutants
mutants: $(VENV)/.installed-dev ## Small faults in the core, one at a time: which ones do its unit tests not notice? ARGS="journal" for a file
	@PYTHONPATH=src $(BIN)/python -m tests.mutation $(ARGS)

.PHONY: chaos
chaos: $(VENV)/.installed-dev ## Kill engine, workers and deployments under load for MINUTES (10), and judge what came of it
	@PYTHONPATH=src $(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(ARGS)

.PHONY: zoo
zoo: $(VENV)/.installed-dev ## The crash lab on its zoo of seeded bugs and on the tour: found, named, no false alarm
	@PYTHONPATH=src $(BIN)/python -m tests.zoo --write $(ARGS)
	@PYTHONPATH=src $(BIN)/python -m tests.zoo --tour

.PHONY: bank
bank: $(VENV)/.installed-dev ## 10,000 cuts and kills at a fake bank: nothing booked twice
	@PYTHONPATH=src $(BIN)/python -m tests.bank $(ARGS)

.PHONY: check
check: $(VENV)/.installed-dev ## Everything a change must pass: what CI runs
	@$(MAKE) --no-print-directory --jobs 2 package types format-check lint imports docs coverage collect
	@$(MAKE) --no-print-directory test

.PHONY: format-check
format-check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check --quiet $(SOURCES)

.PHONY: lint
lint: $(VENV)/.installed-dev
	$(BIN)/ruff check --quiet $(SOURCES)

.PHONY: types
types: $(VENV)/.installed-dev
	$(BIN)/mypy
	@$(BIN)/pyrefly check --output-format min-text

.PHONY: collect
# pytest compiles tests in its own way. Once is enough for all processes of `make test`, wherever files may be written.
collect: $(VENV)/.installed-dev ## Load every test without running it
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq >$(VENV)/collected \
	    || { tail -n 100 $(VENV)/collected; exit 1; }

.PHONY: coverage
coverage: $(VENV)/.installed-dev ## How much of the core and the protocol their own unit tests run, branches included
	@$(BIN)/coverage run -m pytest --quiet tests/unit/core tests/unit/protocol
	@$(BIN)/coverage report

.PHONY: package
package: $(VENV)/.installed-dev ## Build sdist and wheel, install the wheel elsewhere, run the demo with it
	@tools/check-package.sh $(VENV)

.PHONY: sbom
sbom: $(VENV)/audit/.installed ## A bill of materials of the product's dependencies (CycloneDX) in rewake.cdx.json
	@$(BIN)/python tools/audit.py sbom rewake.cdx.json

.PHONY: audit
audit: $(VENV)/audit/.installed ## What is known against these dependencies; skips when the advisory service is not reached
	@$(BIN)/python tools/audit.py advisories

.PHONY: docs
docs: $(VENV)/.installed-dev ## The documentation as a site in site/, links checked
	@tools/build-docs.sh $(VENV)

.PHONY: imports
imports: $(VENV)/.installed-dev
	@$(BIN)/lint-imports --no-logo --no-cache

.PHONY: format
format: $(VENV)/.installed-dev ## Format the code and fix what lint can fix
	$(BIN)/ruff check --quiet --fix $(SOURCES) || true
	$(BIN)/ruff format --quiet $(SOURCES)

.PHONY: frameworks
frameworks: $(VENV)/.installed-dev ## Adapter tests with the oldest and the newest version of each framework
	@tools/test-frameworks.sh $(BIN)/python

.PHONY: bench
bench: $(VENV)/.installed-dev ## Compare with restate-server side by side; ARGS="--help" for options
	@$(BIN)/python -m bench $(ARGS)

.PHONY: clean
clean: ## Remove the environment, caches and data
	rm -rf $(VENV) rewake.cdx.json site .bench .rewake .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/audit/.installed: tools/audit-requirements.txt | $(VENV)/.installed-dev
	@$(BIN)/python -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install -qq --disable-pip-version-check --requirement $<
	@touch $@

# The stamps: what is installed, and younger than what says so.

$(BIN)/python:
	@tools/make-venv.sh $(VENV) $(PYTHON)

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what the demo needs into $(VENV), once ..."
	@$(PIP) --editable '.[openai]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing all extras and the tools into $(VENV), once ..."
	@$(PIP) --editable '.[all,dev]'
	@touch $@ $(VENV)/.installed-demo
