"""Measure on enumerable spaces how far the sampler is from sampling in proportion to the reward."""
