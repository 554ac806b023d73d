# One command each; CI calls the same ones. `make help` lists them.
PYTHON ?= python3
PYTEST ?= -q
CORES  ?= --numprocesses logical --maxprocesses 4 --dist worksteal
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(STAMP) ## create .venv and install everything pinned in requirements.lock

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

run: install ## judge examples/rollouts.jsonl with the embedded judge
	$(BIN)/judge score examples/rollouts.jsonl -o rewards.jsonl --restart

test: install ## every test, on every core; starts what it needs by itself
	$(BIN)/pytest $(CORES) $(PYTEST)

check: install ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## format, and apply ruff's fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: install ## measure against the simulator (ten minutes); writes loadtest/results/
	$(BIN)/python loadtest/bench.py

bench-service: install ## measure the HTTP service (six minutes); writes loadtest/results/service_*.json
	$(BIN)/python loadtest/service.py

bench-world: install ## refusals, other tenants, storms, slow spells (twenty minutes, on a machine that does nothing else); writes loadtest/results/world.json
	$(BIN)/python loadtest/world.py

load: install ## load test with simulator, service and locust on this machine; writes loadtest/results/load.json
	$(BIN)/python loadtest/load.py

load-ui: install ## the same with locust's web page
	$(BIN)/python loadtest/load.py --ui

bench-peers: install ## install the clients that bench compares with, in .venv-peers
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --requirement loadtest/peers.txt

deploy-tools: ## install the linters for the tests of deploy/, in .venv-deploy
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/pip install --quiet --no-deps --require-hashes --requirement deploy/tools.txt
	.venv-deploy/bin/python deploy/helm.py

trainers: install ## install the trainers' clients for their tests, in .venv-trainers
	$(BIN)/python tests/trainers/environment.py

image: install ## build the images and start them (root, Debian's buildah and debootstrap); writes loadtest/results/image.json
	$(BIN)/python loadtest/image.py

bench-function: install ## measure the Lambda function (twenty minutes, ten of them frozen)
	$(BIN)/python loadtest/function.py
	$(BIN)/python loadtest/function_fleet.py
	$(BIN)/python loadtest/function_memory.py
	$(BIN)/python loadtest/function_freeze.py

bench-verifiers: install ## measure speed and accuracy of the verifiers (accuracy needs TEST_DATA)
	$(BIN)/python loadtest/verifiers_speed.py
	$(BIN)/python loadtest/verifiers_accuracy.py

bench-votes: install ## measure votes where groups tie, on recorded verdicts (needs TEST_DATA)
	$(BIN)/python loadtest/tied_votes.py

soak: install ## measure leaks over a million evaluations (ten minutes); writes loadtest/results/soak.json
	$(BIN)/python loadtest/soak.py

docs: install ## rewrite the generated parts of the documentation
	$(BIN)/python docs/generate.py

lock: install ## resolve requirements.lock and deploy/tools.txt again
	$(BIN)/uv pip compile pyproject.toml --quiet --extra all --group dev --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --upgrade \
		--custom-compile-command 'make lock' --output-file requirements.lock
	$(BIN)/uv pip compile deploy/tools.in --excludes deploy/tools-excluded.txt --quiet --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --upgrade \
		--custom-compile-command 'make lock' --output-file deploy/tools.txt

clean: ## remove .venv and the files that tools leave
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build rewards.jsonl*

.PHONY: help install run test check format bench bench-service bench-function bench-verifiers bench-votes bench-world bench-peers load load-ui deploy-tools trainers image soak docs lock clean
