"""From questions and answers to what is reported of an edited model."""
