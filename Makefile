# Everything a newcomer needs: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.dev-ready

.PHONY: models demo overnight audit audit-full bench test test-fast endurance lint format clean help

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

demo: models ## install, prepare the models, train, evaluate, write runs/quickstart/report.html
	$(BIN)/contraflow train experiment=quickstart

overnight: models ## a sharper adapter: fewer failures, fewer different questions; an hour
	$(BIN)/contraflow train experiment=overnight

# Two editors change a dozen facts of the packaged model; both are audited in one report.
EDITS := audits/demo/edits
audit: $(EDITS)/fine_tune/edits.jsonl $(EDITS)/lora/edits.jsonl ## edit the packaged model two ways, audit both, write audits/demo/report.html
	$(BIN)/contraflow audit edited=$(EDITS)/fine_tune/delta.safetensors,$(EDITS)/lora names=fine_tune,lora \
	  control=packaged:smollm2-135m-instruct edits=$(EDITS)/fine_tune/edits.jsonl n=32 out=audits/demo

# Three editors and two dozen facts, with a sampler adapted to every edit: 2 to 3 hours on 2 cores.
FULL := audits/full/edits
EDITORS := fine_tune lora rank_one
audit-full: $(EDITORS:%=$(FULL)/%/edits.jsonl) ## three editors, two dozen facts, with adapting; 2 to 3 hours
	$(BIN)/contraflow audit \
	  edited=$(FULL)/fine_tune/delta.safetensors,$(FULL)/lora,$(FULL)/rank_one/delta.safetensors \
	  names=fine_tune,lora,rank_one control=packaged:smollm2-135m-instruct \
	  edits=$(FULL)/fine_tune/edits.jsonl n=32 adapt_steps=10 out=audits/full

# Edits that are there are not made again, so that an audit that was stopped goes on.
models: $(READY)
	$(BIN)/contraflow models download
$(EDITS)/%/edits.jsonl: | models
	$(BIN)/python -m examples.edits $* n=12 out=$(@D)
$(FULL)/%/edits.jsonl: | models
	$(BIN)/python -m examples.edits $* n=24 out=$(@D)

bench: models ## a step against the straightforward pipeline: speed, memory, split; 20 minutes
	$(BIN)/python -m benchmarks.cpu.pipeline

# One process a core, at most eight, whole files each, since fixtures of a file are shared.
WORKERS := -n logical --maxprocesses 8 --dist loadfile
# In the order of the folders: tests of actors take longest and come first.
SLOW_WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
# It looks for any Ray on this machine, and other tests start some.
ALONE := tests/actors/test_cluster.py
test: $(DEV_READY) lint ## both tiers of tests, style, types and import rules
	$(BIN)/contraflow models download
	$(BIN)/python -m pytest -m "not slow" $(WORKERS) --durations=5
	$(BIN)/python -m pytest -m slow $(SLOW_WORKERS) $(addprefix --ignore=,$(ALONE)) --durations=5
	$(BIN)/python -m pytest -m slow $(ALONE) --durations=5

test-fast: $(DEV_READY) ## the tests that need no packaged model
	$(BIN)/python -m pytest -m "not slow" $(WORKERS)

# Tests that cause faults at random moments: 20 kills of actors, 5 of what they need, not 5 and 2.
endurance: $(DEV_READY) ## faults of a run with actors, four times as many as in `make test`; 15 minutes
	CONTRAFLOW_ENDURANCE=1 $(BIN)/python -m pytest -m slow tests/actors/test_ray.py tests/actors/test_faults.py

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
