"""The command line: `contraflow COMMAND key=value …`. The only part that knows Hydra (in
`compose`).

Nothing heavy is imported at the top of these modules: help and most errors must come before torch
would.
"""

from contraflow.cli.entry import main

__all__ = ["main"]
