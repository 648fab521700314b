"""What can be told of a text without a model: names, words, checks, and prompt templates."""
