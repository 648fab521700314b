"""Entry point of `python -m contraflow.judge_training`."""

from contraflow.reward.judge.training.__main__ import main

if __name__ == "__main__":
    main()
