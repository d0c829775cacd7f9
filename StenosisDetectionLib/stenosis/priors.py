"""Healthy diameters of coronary segments in the population and the law of bifurcations: the one table of these facts.

In mm. Sources: Dodge 1992 (Circulation 86:232; quantitative angiography of normal arteries), Medrano-Gracia 2016
(EuroIntervention 12:845), Finet 2008 (EuroIntervention 3:490); values marked E are choices of ours between these.
"""

from __future__ import annotations

POPULATION_SD_MM = 0.5
"""Smallest standard deviation with which a value of the table is believed: people differ more than the studies say."""

FINET, FINET_SD = 0.678, 0.15
"""Diameter before a bifurcation over the sum of the two behind it, and its relative standard deviation."""

SMALL_RATIO, SMALL_MM = 0.75, 20.0
"""A vessel whose reference lies below this part of the table's value over this length is diffusely small."""

_DIAMETER_MM: dict[int, tuple[float, float]] = {
    1: (3.9, 0.6),
    2: (3.4, 0.6),  # E
    3: (2.9, 0.6),  # E
    4: (2.0, 0.4),  # E
    5: (4.5, 0.5),
    6: (3.7, 0.4),
    7: (2.7, 0.5),  # E
    8: (1.9, 0.4),
    9: (2.1, 0.4),  # E
    10: (1.8, 0.4),  # E
    11: (3.4, 0.5),
    12: (2.2, 0.5),  # E
    13: (2.0, 0.5),  # E
    14: (1.9, 0.4),  # E
    15: (2.0, 0.4),  # E
    16: (1.9, 0.4),  # E
    17: (2.1, 0.5),  # E
    18: (1.9, 0.4),  # E
}
"""Mean and standard deviation by the number of the SCCT segment, in right dominance."""

_LEFT_DOMINANT_MM: dict[int, tuple[float, float]] = {1: (2.8, 0.5), 2: (2.4, 0.5), 3: (2.0, 0.5), 11: (4.2, 0.6)}
"""Those that differ in left dominance; segments 2 and 3 in proportion to segment 1 (E)."""


def population_diameter(segment: int, dominance: str) -> tuple[float, float] | None:
    """Return mean and standard deviation in mm of a segment of the SCCT model; None for an unknown number."""
    if dominance == "left" and segment in _LEFT_DOMINANT_MM:
        mean, sd = _LEFT_DOMINANT_MM[segment]
    elif segment in _DIAMETER_MM:
        mean, sd = _DIAMETER_MM[segment]
    else:
        return None
    return mean, max(sd, POPULATION_SD_MM)
