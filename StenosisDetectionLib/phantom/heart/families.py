"""The generator families: laws from which hearts are drawn. Held-out ones differ in laws, not only in seeds."""

from dataclasses import dataclass, field

from .contrast import ContrastLaw
from .coronaries import LAWS
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


_FAMILIES = {
    "ellipsoid": Family(ShapeLaw(), TortuosityLaw("waves"), LAWS, ContrastLaw()),
    "harmonic": Family(ShapeLaw(waves=0.03), TortuosityLaw("noise"), LAWS, ContrastLaw()),
    "soft": Family(
        ShapeLaw(waves=0.015, blend_mm=(10.0, 16.0)), TortuosityLaw("waves", (0.3, 1.5)), LAWS, ContrastLaw()
    ),
    "boxy": Family(
        ShapeLaw(exponent=(2.3, 2.8)), TortuosityLaw("kinks"), ("murray",), ContrastLaw((240.0, 500.0), (0.4, 1.15))
    ),
    "bent": Family(
        ShapeLaw(waves=0.02, limbs=True),
        TortuosityLaw("kinks", (0.5, 3.0), (10.0, 25.0)),
        ("murray",),
        ContrastLaw((300.0, 600.0), (0.15, 0.5)),
    ),
}
TRAINING_FAMILIES = ("ellipsoid", "harmonic", "soft")
HELD_OUT_FAMILIES = ("boxy", "bent")
FAMILIES = TRAINING_FAMILIES + HELD_OUT_FAMILIES


def family_of(name: str) -> Family:
    """Return the laws of a family; KeyError when there is none of that name."""
    return _FAMILIES[name]
