"""Helpers of several test files: tiny models, tables for oracle and judge, tiny runs."""
