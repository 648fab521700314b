"""The sampler: constraints (the environment), flow head, LoRA policy and its adapter folder."""
