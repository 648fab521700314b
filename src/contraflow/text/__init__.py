"""Text processing without a model: answer matching, word tables, checks and prompt templates."""
