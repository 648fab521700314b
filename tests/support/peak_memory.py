"""`python -m support.peak_memory WORD…`: run a command, and print the peak of its memory."""

from __future__ import annotations

import resource
import sys

from contraflow.cli import main

if __name__ == "__main__":
    code = main(sys.argv[1:])
    print("peak", round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1), "MiB")
    sys.exit(code)
