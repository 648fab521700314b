"""What was tried, and how it came out. Every command runs from the root of the repository, as
``python -m studies.targets``, and takes ``--help``.

- `answer_prompts`: what the oracle is shown before a question (docs/method.md).
- `targets`: which reward an exact sampler would do best with (docs/method.md).
- `fit`: many settings trained and measured side by side; its plans are in `studies/fit/plans`.
- `journey`: the loss of the design that contraflow replaces, trained beside ours.
- `plain_answers`: makes the packaged oracle's answers to the packaged facts, an asset.
- `audit_estimates`: an audit's estimates against a large direct sample (docs/audit.md).
- `scaling`: where a step's time goes on 4, 8 and 64 GPUs, by scheme (docs/scaling.md).
"""
