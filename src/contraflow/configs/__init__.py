"""The packaged settings, one folder a group; a module because Hydra finds them by that name.

A file says only what makes it that choice: every other key keeps the default of
`contraflow.settings`. Its first comment line is what `contraflow train --help` prints beside it. An
empty text is a key that the user must set. Files that start with `_` are parts of others.
"""
