#!/usr/bin/env bash
# A short run on four ranks, ten steps on sixteen facts, to check that ranks work here: on GPUs if there are any, else
# on the CPU. Run it again to continue after a stop. More settings may follow: recipes/ddp_debug_fast.sh trainer.devices=2
set -euo pipefail
export PATH="$PATH:$(cd "$(dirname "$0")/.." && pwd)/.venv/bin"
mkdir -p training_logs
contraflow train experiment=debug_fast name=ddp_debug_fast trainer=ddp trainer.devices=4 trainer.n_steps=10 \
    data.max_train_facts=16 trainer.checkpoint_every=5 trainer.validate_every=5 "$@" 2>&1 |
    tee -a training_logs/ddp_debug_fast.log
