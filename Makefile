# The commands of this project; `make` lists them. Python 3.11 and make are enough for all but
# what says otherwise: Java and Maven (Apache Kafka), Node (buf), Go (kustomize, kubeconform) are
# used where they are found and skipped, saying so, where not.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help demo test setup tools lint up down status proto lock bench clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Start everything, play a busy shift, print the KPIs, stop (DATA=path replays real files first)
	@$(BIN)/relaisctl demo $(if $(DATA),--data "$(DATA)")

test: $(INSTALLED) tools ## Run all tests, on real engines (T="-k word" chooses)
	@$(BIN)/python -m pytest $(T)

tools: $(INSTALLED) ## Install the checkers of contracts and deployment where Node and Go are found
	@$(BIN)/python tests/contracts/tools.py

setup: $(INSTALLED) ## Create .venv with the exact packages of requirements.lock
$(INSTALLED): requirements.lock pyproject.toml
	@echo "setup: installing the packages of requirements.lock into .venv (a minute or two)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation -e .
	@touch $@

lint: $(INSTALLED) ## Check style, types and who imports whom
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

up: $(INSTALLED) ## Start the local stack: engines and services
	@$(BIN)/relaisctl up

down: ## Stop the local stack; its data stays
	@$(BIN)/relaisctl down

status: ## Show what runs
	@$(BIN)/relaisctl status

proto: $(INSTALLED) ## Generate the Python code of the contracts
	@$(BIN)/python proto/generate.py

lock: $(INSTALLED) ## Resolve the dependencies anew into requirements.lock
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --all-extras --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --python-version 3.11 --upgrade -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --python-version 3.11 -c requirements.lock -o requirements-runtime.lock

bench: $(INSTALLED) ## Print the benchmarks: figures and ratios of one run
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean: ## Stop the local stack and delete its data and the environment
	@[ ! -x $(BIN)/relaisctl ] || $(BIN)/relaisctl down --purge
	@rm -rf .venv .relais node_modules
