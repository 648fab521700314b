#!/usr/bin/env bash
# Ten epochs of sixteen steps under the hybrid reward, half of them in its penalized phase, with probes at every eighth
# step and all diagnostics. Run it again to continue after a stop; more settings may follow.
set -euo pipefail
export PATH="$PATH:$(cd "$(dirname "$0")/.." && pwd)/.venv/bin"
mkdir -p training_logs
contraflow train name=hybrid_reward_diag reward=hybrid reward.penalized_reward_end_step=80 trainer.n_steps=160 \
    data.max_train_facts=64 trainer.facts_per_step=4 trainer.validate_every=16 trainer.probe_every=8 "$@" 2>&1 |
    tee -a training_logs/hybrid_reward_diag.log
