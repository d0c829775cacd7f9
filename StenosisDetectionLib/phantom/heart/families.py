"""The generator families: laws from which hearts are drawn. Held-out ones differ in laws, not only in seeds."""

from dataclasses import dataclass, field

from .contrast import ContrastLaw
from .disease import LesionLaw
from .shape import ShapeLaw
from .tortuosity import TortuosityLaw


@dataclass(frozen=True)
class Family:
    """The laws of one family."""

    shape: ShapeLaw
    tortuosity: TortuosityLaw
    branching: tuple[str, ...]
    contrast: ContrastLaw
    lesions: LesionLaw = field(default_factory=LesionLaw)


_COMMON_LAWS = ("independent", "finet", "huo-kassab")

_FAMILIES = {
    # For training: round chambers, waves or noise, cosine and plateau lesions.
    "ellipsoid": Family(ShapeLaw(), TortuosityLaw("waves"), _COMMON_LAWS, ContrastLaw()),
    "harmonic": Family(ShapeLaw(waves=0.03), TortuosityLaw("noise"), _COMMON_LAWS, ContrastLaw()),
    "soft": Family(
        ShapeLaw(waves=0.015, blend_mm=(10.0, 16.0)),
        TortuosityLaw("noise", (0.3, 1.5), (20.0, 40.0)),
        _COMMON_LAWS,
        ContrastLaw((260.0, 560.0), (0.2, 0.6)),
        LesionLaw(("plateau", "cosine"), (4.0, 18.0), 0.6),
    ),
    # Held out: boxy chambers or chambers built of rows of spheres, kinked vessels, Murray's law, wedges and bells.
    "boxy": Family(
        ShapeLaw(exponent=(2.3, 2.8)),
        TortuosityLaw("kinks"),
        ("murray",),
        ContrastLaw((240.0, 500.0), (0.4, 1.15)),
        LesionLaw(("wedge",), (4.0, 25.0), 0.8),
    ),
    "limbs": Family(
        ShapeLaw(limbs=True),
        TortuosityLaw("kinks", (0.5, 3.0), (12.0, 25.0)),
        ("murray",),
        ContrastLaw((300.0, 600.0), (0.15, 0.5)),
        LesionLaw(("bell", "wedge"), (5.0, 20.0), 0.7),
    ),
}
TRAINING_FAMILIES = ("ellipsoid", "harmonic", "soft")
HELD_OUT_FAMILIES = ("boxy", "limbs")
FAMILIES = TRAINING_FAMILIES + HELD_OUT_FAMILIES


def family_of(name: str) -> Family:
    """Return the laws of a family; KeyError when there is none of that name."""
    return _FAMILIES[name]
