#!/usr/bin/env bash
# Four ranks, ten steps, sixteen facts: does training with ranks work here? On GPUs where there are any, else on the CPU.
# Run it again to go on after a stop. More settings may follow: scripts/run_ddp_debug_fast.sh trainer.devices=2
set -euo pipefail
export PATH="$PATH:$(cd "$(dirname "$0")/.." && pwd)/.venv/bin"
mkdir -p training_logs
contraflow train experiment=debug_fast name=ddp_debug_fast trainer=ddp trainer.devices=4 trainer.n_steps=10 \
    data.max_train_facts=16 trainer.checkpoint_every=5 trainer.validate_every=5 "$@" 2>&1 |
    tee -a training_logs/ddp_debug_fast.log
