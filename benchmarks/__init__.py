"""What the package costs, measured. Every command runs from the root of the repository, as
``python -m benchmarks.cpu.pipeline``, and takes ``--help``.

- `cpu/`: a whole step and its parts on a CPU: `pipeline`, `objectives`, `learning_memory`,
  `oracle_engines` (docs/performance.md, docs/training.md).
- `gpu/`: a step and a decoding pass on one GPU: `step` (docs/gpu.md).
- `cost/`: seconds and memory of a step of given sizes, measured and predicted: the package itself,
  ``python -m benchmarks.cost`` (docs/performance.md).
- `work/`: tokens, passes and kernels counted instead of seconds: `steps`, `kernels`
  (docs/scaling.md).
- `replay/`: reads and writes per second of the replay server: `throughput` (docs/replay.md).

- `actors`: actors against ranks, with a slow served oracle or without (docs/scaling.md).

`straightforward` is the pipeline that a step is compared with on either device (its models are in
`straightforward_models`), `random_models` makes models without a download, `clock` takes the time.
"""
