#!/usr/bin/env bash
# The sampler of run=shipped: the quickstart with its former target, rate and plain draws (docs/results.md), and rank 8 instead of 16
# (half the size), packed in half precision. 34 minutes on one thread. Run it again to continue after a stop; more settings
# may follow.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$PWD/.venv/bin"
contraflow train experiment=quickstart name=shipped model.lora.r=8 model.lora.alpha=16 trainer.threads=1 \
  reward.likelihood_weight=0.38 reward.likelihood_ceiling=0 reward.reward_temp_start=0.5 reward.reward_temp_end=0.5 \
  optimizer.lr=4e-4 exploration.distinct=false data.max_validation_facts=16 "$@"
python data_sources/pack_sampler.py runs/shipped
