"""What was tried, and how it came out. Every command runs from the root of the repository, as
``python -m studies.targets``, and takes ``--help``.

- `answer_prompts`: what the oracle is shown before a question (docs/method.md).
- `targets`: which reward an exact sampler would do best with (docs/method.md).
- `scaling`: where a step's time goes on 4, 8 and 64 GPUs, by scheme (docs/scaling.md).
"""
