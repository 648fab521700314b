"""Search for failures: adapting the sampler, and wordings that made other edits fail."""
