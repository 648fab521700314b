"""The command line: `contraflow COMMAND key=value …`.

No module here imports a heavy library at its top: help and most errors must not wait for torch.
"""

from contraflow.cli.entry import main

__all__ = ["main"]
