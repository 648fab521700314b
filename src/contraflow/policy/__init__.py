"""The sampler: constraints (the environment), flow head, and the LoRA policy that samples and
evaluates.
"""
