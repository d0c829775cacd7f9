"""Poses and sizes of ventricle and aorta as measured in patients (`Resources/heart`), and draws from them. RAS mm."""

import json
from functools import lru_cache

import numpy as np

from ...resources import resource_path

ASCENDING_MM, DESCENDING_MM = (15.0, 30.0, 50.0), (-40.0, 0.0, 45.0)
"""Heights above the annulus at which the aorta was measured."""

_FARTHEST = 1.8  # standard deviations of a mode


@lru_cache(maxsize=1)
def _model() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return names (N), mean (N,) and modes (M, N) scaled by their standard deviation."""
    model = json.loads(resource_path("heart", "shape_model.json").read_text(encoding="utf-8"))
    return model["names"], np.array(model["mean"]), np.array(model["modes"])


def draw_pose(generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Return a draw from the shape model.

    Returns
    -------
    `ventricle_center` (3,), `long_axis` (3,), `semi_axes` (3,), and `ascending` and `descending`, (3, 4) each: x, y, z
    and diameter of the aorta at three heights.
    """
    names, mean, modes = _model()
    weights = np.clip(generator.normal(size=len(modes)), -_FARTHEST, _FARTHEST)
    value = dict(zip(names, mean + weights @ modes, strict=True))

    def part(*names: str) -> np.ndarray:
        return np.array([value[name] for name in names])

    def aorta(name: str, heights: tuple[float, ...]) -> np.ndarray:
        rows = [part(f"{name}_{n}_x", f"{name}_{n}_y", f"{name}_{n}_diameter") for n in range(3)]
        return np.array([[x, y, z, diameter] for (x, y, diameter), z in zip(rows, heights, strict=True)])

    return {
        "ventricle_center": part(*(f"ventricle_center_{a}" for a in "xyz")),
        "long_axis": part(*(f"long_axis_{a}" for a in "xyz")),
        "semi_axes": part("semi_axis_long", "semi_axis_wide", "semi_axis_thin"),
        "ascending": aorta("ascending", ASCENDING_MM),
        "descending": aorta("descending", DESCENDING_MM),
    }
