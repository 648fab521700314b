"""The report of an audit: a self-contained page, and the same in a terminal."""
