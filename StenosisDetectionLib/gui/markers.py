"""Follow markers while a reader drags them.

In: a markups node. Out: calls with the positions (N, 3) of its markers, in the coordinates of the volume: one while
they move, another when they were let go.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..scene.marker_nodes import marker_positions


class MarkerWatch:
    """Watches one markups node at a time."""

    def __init__(self, on_moving: Callable[[np.ndarray], None], on_moved: Callable[[np.ndarray], None]) -> None:
        self._on_moving, self._on_moved = on_moving, on_moved
        self._node: Any = None
        self._tags: tuple[int, ...] = ()

    def start(self, node: Any) -> None:
        """Watch a node, and no other."""
        self.stop()
        self._node = node
        self._tags = (
            node.AddObserver(node.PointModifiedEvent, lambda caller, event: self._on_moving(marker_positions(caller))),
            node.AddObserver(
                node.PointEndInteractionEvent, lambda caller, event: self._on_moved(marker_positions(caller))
            ),
        )

    def stop(self) -> None:
        """Watch nothing."""
        for tag in self._tags:
            self._node.RemoveObserver(tag)
        self._node, self._tags = None, ()
