"""Attention with a shared prefix, in tensor products and in kernels of one launch."""
