"""Which recordings are kept: by shape, so many at most, the ones that are in use.

Recording a shape takes as long as several passes. So a recording makes room for another one only if
it was not used for a while; while all are in use, further shapes are not recorded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Generic, TypeVar

MOST = 24
IDLE = 256  # passes without a use after which a recording may be dropped


Shape = TypeVar("Shape", bound=Hashable)
Made = TypeVar("Made")


class Recordings(Generic[Shape, Made]):
    """What was recorded for each shape, the least recently used first.

    Call `next_pass` at the start of every pass, recorded or not.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[Shape, Made] = OrderedDict()
        self._used: dict[Shape, int] = {}  # the last pass that each was used in
        self._passes = 0

    def __len__(self) -> int:
        return len(self._made)

    def __iter__(self) -> Iterator[Shape]:
        return iter(self._made)

    @property
    def made(self) -> Collection[Made]:
        """All of them."""
        return self._made.values()

    def next_pass(self) -> None:
        """Count a pass."""
        self._passes += 1

    def get(self, shape: Shape) -> Made | None:
        """The recording of a shape, which this pass uses; None if there is none."""
        made = self._made.get(shape)
        if made is not None:
            self._made.move_to_end(shape)
            self._used[shape] = self._passes
        return made

    def keep(self, shape: Shape, made: Made) -> None:
        """Add a recording, which this pass uses."""
        self._made[shape] = made
        self._used[shape] = self._passes

    def make_room(self, fits: Callable[[], bool] = lambda: True) -> bool:
        """Drop recordings that are no longer used until one more fits; whether it does.

        fits: whether there is room for it beside those that are left, their number aside.
        """
        while self._made and not (len(self._made) < MOST and fits()):
            oldest = next(iter(self._made))
            if self._passes - self._used[oldest] < IDLE:
                return False
            self._drop(oldest)
        return True

    def drop(self, unwanted: Callable[[Made], bool] = lambda _made: True) -> None:
        """Drop some recordings, or all of them."""
        for shape in [shape for shape, made in self._made.items() if unwanted(made)]:
            self._drop(shape)

    def _drop(self, shape: Shape) -> None:
        del self._made[shape]
        del self._used[shape]
