"""Several processes that train one sampler: what each holds, and how they communicate.

`ranks` alone uses torch.distributed. In a run of one process every collective is a no-op.
"""
