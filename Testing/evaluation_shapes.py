"""Hand-made trees and lesions for the tests of the evaluation: straight vessels in RAS, mm."""

import numpy as np

from StenosisDetectionLib.evaluation import stenosis, summary
from StenosisDetectionLib.evaluation.lesions import LesionFinding
from StenosisDetectionLib.evaluation.statistics import resamples
from StenosisDetectionLib.study import Vessel, VesselSegment, VesselTree

STEP = 0.25


def few_resamples(monkeypatch):
    """Let evaluations draw 40 bootstrap samples instead of 2000: enough to test, and fast."""
    for module in (stenosis, summary):
        monkeypatch.setattr(module, "resamples", lambda cases, samples=0: resamples(cases, 40))


def straight(name, start, direction, length, radius=1.5, parent=None, at=None, segments=()):
    """Return a straight vessel; `segments` are (number, start, end) in mm."""
    distance = np.linspace(0.0, length, round(length / STEP) + 1)
    unit = np.array(direction, dtype=float) / np.linalg.norm(direction)
    spans = tuple(VesselSegment("SCCT", n, str(n), "41801008", a, b, 0.9) for n, a, b in segments)
    points = np.array(start, dtype=float) + distance[:, None] * unit
    radii = np.interp(distance, np.linspace(0.0, length, len(np.atleast_1d(radius))), np.atleast_1d(radius))
    return Vessel(name, parent, at, points, distance, radii, spans)


def tree(*vessels):
    return VesselTree(vessels, "right")


def heart(offset=(0.0, 0.0, 0.0), names=("LM", "LAD", "LCX", "RCA", "D1"), **parts):
    """Return LM (10 mm), LAD (80), LCX (50), D1 (30, from the LAD at 20) and RCA (100), moved by an offset."""
    o, fork = np.array(offset), np.array(offset) + np.array((-10, 0, 0))
    vessels = {
        "LM": straight("LM", o, (-1, 0, 0), 10, 2.2, segments=((5, 0, 10),)),
        "LAD": straight("LAD", fork, (0, 1, 0), 80, 1.6, "LM", 10.0, ((6, 0, 20), (7, 20, 50), (8, 50, 80))),
        "LCX": straight("LCX", fork, (0, -1, 0), 50, 1.5, "LM", 10.0, ((11, 0, 25), (13, 25, 50))),
        "RCA": straight(
            "RCA", o + np.array((40, 0, 0)), (0, 0, -1), 100, 1.7, segments=((1, 0, 35), (2, 35, 70), (3, 70, 100))
        ),
        "D1": straight("D1", fork + np.array((0, 20, 0)), (-1, 1, 0), 30, 1.0, "LAD", 20.0, ((9, 0, 30),)),
    }
    return VesselTree(tuple((vessels | parts)[name] for name in names), "right")


def lesion(percent, vessel="LAD", throat=30.0, length=8.0, on=None, **fields):
    """Return a lesion on a vessel of a tree (`heart()` by default), with its places in space."""
    path = (on or heart()).vessel(vessel)

    def place(at):
        return tuple(float(np.interp(at, path.distance_mm, axis)) for axis in path.points_ras.T)

    start, end = throat - length / 2, throat + length / 2
    territory = {"D1": "LAD"}.get(vessel, vessel)
    number = next((s.number for s in path.segments if s.start_mm <= throat <= s.end_mm), None)
    values = {
        "segment": number,
        "territory": territory,
        "diameter_stenosis_percent": float(percent),
        "start_mm": start,
        "throat_mm": throat,
        "end_mm": end,
        "start_ras": place(start),
        "throat_ras": place(throat),
        "end_ras": place(end),
        "reference_diameter_mm": 3.0,
        "minimal_lumen_diameter_mm": 3.0 * (1 - percent / 100),
    }
    return LesionFinding(vessel=vessel, **(values | fields))
