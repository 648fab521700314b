"""contraflow: a GFlowNet that teaches a language model to ask contradictory questions."""

__version__ = "0.1.0"
