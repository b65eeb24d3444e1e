# Needs python3 (3.11 or newer, with venv) and make; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Modules are compiled when first imported; most of the 7,000 never are.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
export PYTHONDONTWRITEBYTECODE :=
ENVIRONMENT := $(VENV)/.installed
MODELS_DIR := $(or $(ROWMILL_MODELS_DIR),models)
MODELS := $(MODELS_DIR)/.trained

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo up down test chaos bench peers lint audit format models docs lock

help: ## Show this help
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)
	@echo
	@echo "Settings are ROWMILL_… variables: make up ROWMILL_PORT=9000 ROWMILL_WORKERS=4"

demo: $(ENVIRONMENT) $(MODELS) ## Score the petrol CSV through the real stack; KEEP=1 leaves it running
	@$(BIN)/python -m deploy.local.demo

up: $(ENVIRONMENT) $(MODELS) ## Start the stack in the background: Redis, API, workers, Flower
	@$(BIN)/python -m deploy.local.stack up

# Not after the environment: nothing is installed, or installed anew, only to stop what runs.
down: ## Stop the stack; jobs are kept for the next start
	@if [ -e $(ENVIRONMENT) ]; then $(BIN)/python -m deploy.local.stack down; \
	else echo "Nothing was running."; fi

test: $(ENVIRONMENT) ## Run the tests; they need no stack, no models and no Docker
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered

chaos: $(ENVIRONMENT) ## Let a monkey break a cluster: make chaos SEED=7 MINUTES=20 JOBS=500
	$(BIN)/python -m tests.chaos --seed $(or $(SEED),1) --minutes $(or $(MINUTES),3) --jobs $(or $(JOBS),500)

# Fewer rows, jobs and rounds than `python -m benchmarks` has by default.
bench: $(ENVIRONMENT) ## Compare Rowmill with scripts, a textbook service and peers, in short
	$(BIN)/python -m benchmarks --rounds 3 --models m1 m3 --rows 200000 --jobs 500 --seconds 4

peers: $(ENVIRONMENT) ## Install what make bench also compares with: MLServer
	$(BIN)/python -m benchmarks.peers

lint: $(ENVIRONMENT) ## Run ruff, mypy, import-linter and the lock check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy requirements/lock.py
	$(BIN)/mypy requirements/audit.py
	$(BIN)/lint-imports
	$(BIN)/python requirements/lock.py --check

audit: $(ENVIRONMENT) ## Ask PyPI for known vulnerabilities of the pinned packages
	@$(BIN)/python requirements/audit.py

format: $(ENVIRONMENT) ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

models: $(MODELS) ## Train and publish the example models, if they changed

docs: $(ENVIRONMENT) ## Build the documentation as a site into build/docs
	@$(BIN)/mkdocs build --quiet

lock: $(ENVIRONMENT) ## Compile requirements/*.txt again after a change in pyproject.toml
	$(BIN)/python requirements/lock.py

$(ENVIRONMENT): requirements/installer.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Rowmill needs Python 3.11 or newer. $(PYTHON) is: $$($(PYTHON) --version 2>&1)"; \
	  echo "Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV); this takes about a minute …"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP_INSTALL) --require-hashes -r requirements/installer.txt
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@PYTHONWARNINGS=ignore $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# Trained again when an example or scikit-learn changes, not at every make up.
$(MODELS): $(wildcard examples/*.py examples/*/*.py examples/*/*.csv) requirements/worker.txt | $(ENVIRONMENT)
	@echo "Training the example models …"
	@$(BIN)/python -m examples.train_all --repository $(MODELS_DIR)
	@touch $@
