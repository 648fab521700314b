"""What the fixtures of the replay tests give. Not in `conftest`: under that name Python may find
another folder's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

OpenStore = Callable[..., Any]
Guarded = tuple[int, redis.Redis, Path]  # port, a client that may do anything, the data folder
