"""Several processes that train one sampler: what each holds, and what they send each other.

`ranks` alone knows torch.distributed. One process is a rank by itself, for which every exchange is a no-op.
"""
