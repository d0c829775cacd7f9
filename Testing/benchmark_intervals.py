"""Calibrate the interval of the diameter stenosis on one family of lesions and check it on others.

    python Testing/benchmark_intervals.py [training] [held-out]

Training family: concentric cosine stenoses in straight vessels of 2.2 to 4 mm, three plaques, four point spreads, noise
15 to 40 HU. Held out: plateau stenoses and eccentric ones, in curved vessels that taper, with other seeds. For every
lesion that is found: its error over its standard error (z). A calibrated interval of 90 % holds 85 to 95 % of them.
The factors `FIT_ERROR_FACTOR`, `CALCIUM_ERROR_FACTOR`, `SMALL_LUMEN_FACTOR` (lumen/estimates.py) and
`MODEL_ERROR_PERCENT` (stenosis/measurement.py) come from 50 lesions like those of the training family with other seeds,
cosines and plateaus, concentric and eccentric. With a factor of 0.8 beside calcium the interval held 38 of 38 below
75 % and 10 of 12 above it (7 of 9 beside calcium, where the point spread makes one of calcium and lumen); it is 0.6
now, and twice that for a small lumen. The held-out family has not been run with these.
"""

import sys
from collections.abc import Iterator

import numpy as np
from benchmark_measurement import measured
from benchmark_shapes import rotation, straight_line, tree_of

from StenosisDetectionLib.phantom import LesionShape, Phantom, Physics, tree_study, tree_vessel

PLAQUES = ("noncalcified", "mixed", "calcified")


def cases(family: str, count: int) -> Iterator[tuple[str, float, Phantom]]:
    """Yield plaque, true stenosis and phantom; the same family and count give the same cases."""
    for n in range(count):
        rng = np.random.default_rng([17 if family == "training" else 91, n])
        plaque = PLAQUES[n % 3]
        percent = float(rng.uniform(25, 85))
        diameter = float(rng.uniform(2.2, 4.0))
        sigma = float(rng.uniform(0.3, 0.5))
        physics = Physics((sigma, sigma, 1.2 * sigma), float(rng.uniform(15, 40)), n)
        length = float(rng.uniform(6, 14))
        if family == "training":
            vessel = tree_vessel("LAD", straight_line(44.0, n), (diameter, diameter))
            shape = LesionShape("LAD", 22.0, length, percent, plaque)
        else:
            angle = np.linspace(-0.6, 0.6, 60)
            arc = 38.0 * np.column_stack([np.cos(angle) - 1.0, np.sin(angle), 0.1 * angle])
            vessel = tree_vessel("LAD", arc, (diameter + 0.4, diameter - 0.4))
            eccentric = n % 2 == 1
            shape = LesionShape(
                "LAD", 23.0, length, percent, plaque, "cosine" if eccentric else "plateau", 0.6 if eccentric else 0.0
            )
        yield plaque, percent, tree_study((vessel,), (shape,), (0.4, 0.4, 0.5), physics, rotation(n))


def run(family: str, count: int = 24) -> None:
    """Print error, z and coverage of a family."""
    rows: list[tuple[str, float, float, float, bool, str]] = []
    missed = 0
    for plaque, percent, phantom in cases(family, count):
        _, _, found = measured(phantom, tree_of(phantom))
        throat = phantom.truth.lesions[0].throat_mm
        near = [one for one in found if abs(one.throat_mm - throat) < 5.0]
        if not near:
            missed += 1
            continue
        one = max(near, key=lambda lesion: lesion.diameter_stenosis_percent)
        low, high = one.diameter_stenosis_interval_90
        error = one.diameter_stenosis_percent - percent
        z = error / (one.diameter_stenosis_error or 1.0)
        rows.append((plaque, percent, error, z, low <= percent <= high, one.reference_method))
        print(f"{plaque} {percent:.0f} error {error:+.1f} z {z:+.2f}", file=sys.stderr, flush=True)
    print(f"\n### Interval of the diameter stenosis, family {family}: {len(rows)} found, {missed} missed\n")
    print("| plaque | lesions | bias pp | MAE pp | RMS of z | 90 % interval holds |\n|---|---|---|---|---|---|")
    for plaque in (*PLAQUES, "all"):
        own = [row for row in rows if plaque in ("all", row[0])]
        if own:
            error, z = np.array([row[2] for row in own]), np.array([row[3] for row in own])
            held = np.mean([row[4] for row in own])
            print(
                f"| {plaque} | {len(own)} | {error.mean():+.1f} | {np.abs(error).mean():.1f} "
                f"| {np.sqrt((z**2).mean()):.2f} | {100 * held:.0f} % |"
            )


def main() -> None:
    """Run the families named on the command line, both without a name."""
    for family in sys.argv[1:] or ("training", "held-out"):
        run(family)


if __name__ == "__main__":
    main()
