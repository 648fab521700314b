#!/usr/bin/env bash
# How much should the answer's own likelihood count, and what should an unlikely answer cost? All combinations of three
# weights and two penalties; a table and a picture at the end. Run it again to go on; more settings may follow.
set -euo pipefail
export PATH="$PATH:$(cd "$(dirname "$0")/.." && pwd)/.venv/bin"
mkdir -p training_logs
contraflow sweep study=answer_quality experiment=quickstart \
    vary.reward.answer_quality_weight=0,0.15,0.3 vary.reward.answer_failure_penalty=-10,-2 "$@" 2>&1 |
    tee -a training_logs/answer_quality_sweep.log
