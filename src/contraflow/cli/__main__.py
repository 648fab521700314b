"""`python -m contraflow.cli`, where the console script is not on the path (torchrun)."""

import sys

from contraflow.cli.entry import main

sys.exit(main())
