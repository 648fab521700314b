#!/usr/bin/env bash
# A sweep over the weight of the answer's likelihood and the penalty of an unlikely answer: all combinations of three
# weights and two penalties, with a table and a picture at the end. Run it again to continue; more settings may follow.
set -euo pipefail
export PATH="$PATH:$(cd "$(dirname "$0")/.." && pwd)/.venv/bin"
mkdir -p training_logs
contraflow sweep study=answer_quality experiment=quickstart \
    vary.reward.answer_quality_weight=0,0.15,0.3 vary.reward.answer_failure_penalty=-10,-2 "$@" 2>&1 |
    tee -a training_logs/answer_quality_sweep.log
