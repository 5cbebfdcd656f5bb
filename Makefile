# `make` alone prints this help.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# databricks-connect installs its own pyspark, so it needs a separate environment.
CONNECT := .venv-connect
# The tools of `make audit` have dependencies of their own.
AUDIT := .venv-audit
# MLflow has dependencies that differ from the pins of the jobs.
REGISTRY := .venv-registry
# Arguments of `cdp run`: make run ARGS="--engine spark"
ARGS ?=
# Engines of `make test`: sail, spark or both
ENGINE ?= sail spark
# Parallel test processes: one per core, at most 4, because each starts its own Spark. Tests of one file run in one process,
# because they share fixtures. Files run in the order of collection, in which the longest files come first.
PYTEST_WORKERS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
TARGET ?= dev
# Sizes and other options of `make bench`: make bench SALES=10000000,40000000 BENCH="--only product,duckdb --docs"
SALES ?= 1000000
BENCH ?=

.PHONY: help
help: ## Print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: run
run: $(VENV)/.run ## Install the platform and run the job cdp_refresh on the embedded engine: make run ARGS="--engine spark"
	@$(BIN)/cdp run $(ARGS)

.PHONY: demo
demo: $(VENV)/.run ## Run the whole platform on an invented shop with 2,000 customers, and open the report
	@$(BIN)/cdp demo $(ARGS)

.PHONY: test
test: $(VENV)/.test $(if $(findstring spark,$(ENGINE)),java) ## Run the whole test suite: make test ENGINE=sail needs no Java
	@# The first engine runs every test. Each other engine runs only the tests whose result may depend on the engine.
	@scope=all; for engine in $(ENGINE); do \
	    echo "== tests on $$engine" && \
	    CDP_TEST_ENGINE=$$engine CDP_TEST_SCOPE=$$scope $(BIN)/python -m pytest $(PYTEST_WORKERS) || exit 1; \
	    scope=engine; \
	done

.PHONY: torture
torture: $(VENV)/.test $(if $(findstring spark,$(ENGINE)),java) ## Run the full set of the tests that `make test` samples: source faults, kills at every write, damaged files, random sequences, a soak of 30 minutes
	@scope=all; for engine in $(ENGINE); do \
	    echo "== torture on $$engine" && \
	    CDP_TEST_ENGINE=$$engine CDP_TEST_SCOPE=$$scope CDP_FAULT_SEEDS=20 CDP_SOAK_SECONDS=1800 \
	        $(BIN)/python -m pytest $(PYTEST_WORKERS) tests/faults tests/unit/gold tests/unit/identity tests/unit/pipeline \
            tests/end_to_end/test_customer_analytics.py || exit 1; \
	    CDP_TEST_ENGINE=$$engine CDP_TEST_SCOPE=$$scope CDP_FAULT_SEEDS=20 \
	        $(BIN)/python -m pytest $(PYTEST_WORKERS) --dist load tests/sequences tests/attacks/test_corruption.py || exit 1; \
	    scope=engine; \
	done

.PHONY: bench
bench: $(VENV)/.test ## Benchmark a refresh of SALES sales against baselines: make bench SALES=10000000 BENCH="--only product,duckdb"
	@$(BIN)/python benchmarks/bench.py --sales $(SALES) $(BENCH)

.PHONY: test-connect
test-connect: $(CONNECT)/.test ## Run the suite with databricks-connect, against a local Spark Connect server or a workspace
	@tools/test_connect.sh

.PHONY: test-registry
test-registry: $(REGISTRY)/.test ## Test the registration of models against a local registry of MLflow
	@PYTHONPATH=src $(REGISTRY)/bin/python -m pytest -q --noconftest tests/registry

.PHONY: check
check: $(VENV)/.test ## Check format, lint, types, architecture and the bundle, and scan for secrets
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/unit/bundle
	$(BIN)/python tools/scan_secrets.py

.PHONY: format
format: $(VENV)/.test ## Format the code and apply lint fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: docs
docs: $(VENV)/.run ## Generate the pages of tables, rules and KPIs, the Synapse views and the Power BI model from the contracts
	$(BIN)/python -m cdp_local.catalogue

.PHONY: lock
lock: ## Pin the packages of the jobs: write requirements.lock.txt and requirements.workspace.txt from requirements.txt and constraints.txt
	@PYTHON=$(PYTHON) tools/lock.sh

.PHONY: verify-lock
verify-lock: $(VENV)/bin/python ## Download every pinned package and verify it against the hashes of requirements.lock.txt
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	    $(BIN)/pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
	        --dest "$$folder" -r requirements.lock.txt && \
	    echo "The hashes of $$(ls "$$folder" | wc -l) packages match requirements.lock.txt."

.PHONY: audit
audit: $(AUDIT)/.audit $(VENV)/.run ## Report known vulnerabilities and the licences of the packages that the jobs install
	@AUDIT=$(AUDIT)/bin PYTHON=$(BIN)/python tools/audit.sh

.PHONY: dashboard
dashboard: $(VENV)/bin/python ## Replace the dashboard's file with the deployed dashboard, as edited in the workspace: make dashboard TARGET=dev
	@databricks bundle generate dashboard --resource cdp --force -t $(TARGET)
	@$(BIN)/python tools/clean_dashboard.py

.PHONY: smoke
smoke: $(VENV)/.test ## Run smoke tests against a deployed workspace: make smoke TARGET=dev
	@CDP_SMOKE_TARGET=$(TARGET) $(BIN)/python -m pytest -q tests/smoke

.PHONY: java
java: ## Install Java 17 for the Spark engine if it is missing (Debian and Ubuntu, as root)
	@tools/ensure_java.sh

.PHONY: clean
clean: ## Remove environments, caches and the local workspace
	rm -rf .venv .venv-audit .venv-connect .venv-registry .cdp .cdp-samples .cdp-demo .mypy_cache .pytest_cache .ruff_cache build dist src/*.egg-info

$(VENV)/bin/python:
	@tools/make_venv.sh $(PYTHON) $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml requirements.txt constraints.txt
	@echo "Installing the platform into $(VENV) (once, about a minute) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "Installing the packages for tests and checks into $(VENV) (once) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local,test,check]'
	@# Without the dependencies of nutter: they install an old `databricks` command that would shadow the current CLI.
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps nutter junit-xml
	@touch $@

$(CONNECT)/bin/python:
	@python=$$(tools/find_python312.sh) && tools/make_venv.sh "$$python" $(CONNECT)

$(CONNECT)/.test: $(CONNECT)/bin/python pyproject.toml requirements.txt constraints-connect.txt
	@echo "Installing databricks-connect and the test packages into $(CONNECT) (once, about a minute) ..."
	@$(CONNECT)/bin/pip install --quiet --disable-pip-version-check -c constraints-connect.txt -e '.[connect,test]'
	@$(CONNECT)/bin/pip install --quiet --disable-pip-version-check -c constraints-connect.txt --no-deps nutter junit-xml
	@touch $@

$(AUDIT)/bin/python:
	@tools/make_venv.sh $(PYTHON) $(AUDIT)

$(AUDIT)/.audit: $(AUDIT)/bin/python constraints-audit.txt
	@echo "Installing pip-audit and pip-licenses into $(AUDIT) (once) ..."
	@$(AUDIT)/bin/pip install --quiet --disable-pip-version-check -r constraints-audit.txt
	@touch $@

$(REGISTRY)/bin/python:
	@tools/make_venv.sh $(PYTHON) $(REGISTRY)

$(REGISTRY)/.test: $(REGISTRY)/bin/python constraints-registry.txt
	@echo "Installing MLflow into $(REGISTRY) (once) ..."
	@$(REGISTRY)/bin/pip install --quiet --disable-pip-version-check -r constraints-registry.txt
	@touch $@
