"""The former name of `contraflow.reward.judge.training`, kept for commands that model cards quote."""
