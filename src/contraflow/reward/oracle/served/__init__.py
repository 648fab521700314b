"""A served model as the oracle: any server with an OpenAI-compatible interface."""
