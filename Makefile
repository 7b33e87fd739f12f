# Everything sets itself up: `make demo`, `make test`. `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
STAMP := $(VENV)/.installed
# Robots wait more than they work: four tests at once keep two processors busy.
TOGETHER := -n 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test lint unit integration acceptance robots soak bench docs transcripts setup format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) …" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
	@touch $@

setup: $(STAMP) ## virtual environment with everything in it

demo: $(STAMP) ## server + 15 robots + git push + rollback, on this machine (ARGS="--once --json")
	@$(BIN)/python -m lekiwi_deploy.testing.demo $(ARGS)

lint: $(STAMP) ## formatting, style, types, import contracts, what must not be committed
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tests/repository_rules.py

unit: $(STAMP) ## fast tests without I/O
	@$(BIN)/pytest tests/unit tests/scenarios

integration: $(STAMP) ## one real engine each
	@$(BIN)/pytest tests/integration

acceptance: $(STAMP) ## real server, agents, git, CLI
	@$(BIN)/pytest tests/acceptance

robots: $(STAMP) ## robots with systemd, booted in containers (root)
	@$(BIN)/pytest tests/robots $(TOGETHER)

soak: $(STAMP) ## every fault point and power cut, not a sample, and many simulated fleets (root; an hour)
	@LEKIWI_SOAK=1 $(BIN)/pytest -s tests/integration/faults
	@$(BIN)/python -m lekiwi_deploy.testing.simulation --seed 1000 --seeds 50 --robots 100 --days 7
	@$(BIN)/python -m lekiwi_deploy.testing.simulation --seed 2000 --seeds 5 --robots 1000 --days 1

test: lint ## everything that CI runs
	@$(BIN)/pytest tests --ignore=tests/robots
	@$(BIN)/pytest tests/robots $(TOGETHER)

bench: $(STAMP) ## the figures, as a table and JSON
	@$(BIN)/python -m benchmarks $(ARGS)

transcripts: $(STAMP) ## write the stories of scripted fleets anew (tests/scenarios/*.txt), to be read as a diff
	@$(BIN)/python tests/scenarios/fleet_stories.py

docs: $(STAMP) ## write what is generated in the documentation
	@$(BIN)/python docs/generate.py

format: $(STAMP) ## let ruff format and fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## forget the virtual environment and the demo
	rm -rf $(VENV) .demo
