"""What several test files need: tiny models, tables in place of oracle and judge, made-up runs."""
