"""The former name of `contraflow.reward.judge.training`, kept for commands in model cards."""
