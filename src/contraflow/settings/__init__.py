"""The groups of settings, each with names, defaults and ranges; `config.py` puts them together."""
