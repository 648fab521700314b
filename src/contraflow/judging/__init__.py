"""The parts of the judge: scores and protocol, Hugging Face checkpoints, the embedded MiniLM judge."""
