# Everything a newcomer needs: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.dev-ready

.PHONY: demo overnight audit audit-full bench test test-fast lint format clean help

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "contraflow needs Python 3.11 or newer; set PYTHON=…"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch first and by itself: a range would pull a build with gigabytes of GPU libraries.
$(READY): $(BIN)/python pyproject.toml constraints.txt
	@echo "installing dependencies into $(VENV) (once, some minutes)"
	$(PIP_INSTALL) -c constraints.txt torch==2.13.0
	$(PIP_INSTALL) -c constraints.txt -e .
	@touch $@

$(DEV_READY): $(READY)
	$(PIP_INSTALL) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## install, prepare the models, train, evaluate, write runs/quickstart/report.html
	$(BIN)/contraflow models download
	$(BIN)/contraflow train experiment=quickstart

overnight: $(READY) ## a sharper adapter: fewer failures, fewer different questions; an hour
	$(BIN)/contraflow models download
	$(BIN)/contraflow train experiment=overnight

# Two editors change a dozen facts of the packaged model; both are audited in one report.
EDITS := audits/demo/edits
audit: $(READY) ## edit the packaged model two ways, audit both, write audits/demo/report.html
	$(BIN)/contraflow models download
	$(BIN)/python -m examples.edits fine_tune n=12 out=$(EDITS)/fine_tune
	$(BIN)/python -m examples.edits lora n=12 out=$(EDITS)/lora
	$(BIN)/contraflow audit edited=$(EDITS)/fine_tune/delta.safetensors,$(EDITS)/lora names=fine_tune,lora \
	  control=packaged:smollm2-135m-instruct edits=$(EDITS)/fine_tune/edits.jsonl n=32 out=audits/demo

# Three editors and two dozen facts, with a sampler adapted to every edit: 2 to 3 hours on 2 cores.
FULL := audits/full/edits
audit-full: $(READY) ## three editors, two dozen facts, with adapting; 2 to 3 hours
	$(BIN)/contraflow models download
	$(BIN)/python -m examples.edits fine_tune n=24 out=$(FULL)/fine_tune
	$(BIN)/python -m examples.edits lora n=24 out=$(FULL)/lora
	$(BIN)/python -m examples.edits rank_one n=24 out=$(FULL)/rank_one
	$(BIN)/contraflow audit \
	  edited=$(FULL)/fine_tune/delta.safetensors,$(FULL)/lora,$(FULL)/rank_one/delta.safetensors \
	  names=fine_tune,lora,rank_one control=packaged:smollm2-135m-instruct \
	  edits=$(FULL)/fine_tune/edits.jsonl n=32 adapt_steps=10 out=audits/full

bench: $(READY) ## a step against the straightforward pipeline: speed, memory, split; 20 minutes
	$(BIN)/contraflow models download
	$(BIN)/python -m benchmarks.cpu.pipeline

# One process a core, at most eight, whole files each, since fixtures of a file are shared.
WORKERS := -n logical --maxprocesses 8 --dist loadfile
# They kill processes at chosen moments and wait for others: slowly beside anything else.
ALONE := tests/actors tests/distributed
test: $(DEV_READY) lint ## both tiers of tests, style, types and import rules
	$(BIN)/contraflow models download
	$(BIN)/python -m pytest -m "not slow" $(WORKERS) --durations=5
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile $(addprefix --ignore=,$(ALONE)) --durations=5
	$(BIN)/python -m pytest -m slow $(ALONE) --durations=5

test-fast: $(DEV_READY) ## the tests that need no packaged model
	$(BIN)/python -m pytest -m "not slow" $(WORKERS)

lint: $(DEV_READY) ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_READY) ## rewrite in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment, not your runs
	rm -rf $(VENV)
