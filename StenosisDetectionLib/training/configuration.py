"""The one configuration of a training (network, patches, optimizer, loss, data), stored with the weights."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..models.network import COARSE_HEADS, HEADS, NetworkConfiguration
from .cases import SITES


@dataclass(frozen=True)
class TrainingConfiguration:
    """How a network is trained.

    Parameters
    ----------
    name, version : of the model that comes out.
    network : what is trained.
    patch : voxels of a training patch along k, j, i; multiples of the network's divisor.
    batch : patches of an iteration.
    first_patch : size of the patches of the first part of the training, of which an iteration takes as many more:
        small patches hold more vessel a voxel, and growing them later saves time (Fischer 2024); None for none.
    first_share : length of that first part.
    iterations : length of the training; the learning rate falls to zero along a cosine over it.
    learning_rate, weight_decay, warm_up_iterations : of AdamW.
    gradient_norm : gradients are scaled down to this norm.
    averaging : the released weights are an exponential average; this is its decay per iteration.
    loss_weights : weight of every head, and of `skeleton_recall`.
    sites : share of the patches around a place of each kind of `cases.SITES`; the others lie anywhere.
    noise_hu, blur_voxels, aorta_error : largest noise added, largest Gaussian blur, largest relative error of the
        attenuation of the aorta, in augmentation.
    coarsening : largest factor by which the voxels of a patch are enlarged along an axis and resampled again; 1 for
        never.
    zoom : largest relative enlargement of what a patch shows, and of what it shows less; 0 for none.
    use_aorta : tell attenuation relative to that of the aorta; the coarse network, which runs before the aorta is
        known, does without.
    studies, validation_studies : synthetic studies to draw from the generator.
    synthetic_share : share of the patches that is synthetic where a user's studies are there as well.
    validation_share : share of a user's patients that is kept for validation.
    validation_patches : patches of each validation.
    seed : of everything that is random.
    checkpoint_minutes : time between checkpoints.

    Raises
    ------
    InputError : a value has no meaning; the message names it.
    """

    name: str
    version: str
    network: NetworkConfiguration
    patch: tuple[int, int, int] = (96, 96, 96)
    batch: int = 2
    first_patch: tuple[int, int, int] | None = None
    first_share: float = 0.5
    iterations: int = 20000
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    warm_up_iterations: int = 100
    gradient_norm: float = 1.0
    averaging: float = 0.998
    loss_weights: dict[str, float] = field(default_factory=dict)
    sites: dict[str, float] = field(default_factory=lambda: {"artery": 0.4, "vein": 0.25, "ostium": 0.1})
    noise_hu: float = 25.0
    blur_voxels: float = 0.7
    aorta_error: float = 0.08
    coarsening: float = 1.0
    zoom: float = 0.0
    use_aorta: bool = True
    studies: int = 100
    validation_studies: int = 6
    synthetic_share: float = 0.5
    validation_share: float = 0.15
    validation_patches: int = 32
    seed: int = 0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        divisor = self.network.divisor
        for patch in (self.patch, self.first_patch or self.patch):
            if len(patch) != 3 or any(size < divisor or size % divisor for size in patch):
                raise InputError(f"the training's patches need three sizes that are multiples of {divisor}")
        for name in ("batch", "iterations", "validation_patches"):
            if getattr(self, name) < 1:
                raise InputError(f"the training's {name} must be at least 1")
        for name in ("studies", "validation_studies", "seed", "warm_up_iterations", "noise_hu", "blur_voxels", "zoom"):
            if getattr(self, name) < 0:
                raise InputError(f"the training's {name} must not be negative")
        if self.coarsening < 1:
            raise InputError("the training's coarsening must be at least 1")
        for name in ("learning_rate", "gradient_norm", "checkpoint_minutes"):
            if not getattr(self, name) > 0:
                raise InputError(f"the training's {name} must be above 0")
        for name in ("averaging", "first_share", "synthetic_share", "validation_share", "aorta_error"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"the training's {name} must lie between 0 and 1")
        if set(self.sites) - set(SITES) or min(self.sites.values(), default=0) < 0 or sum(self.sites.values()) > 1:
            raise InputError(f"the training's sites are shares of {', '.join(SITES)} that add up to at most 1")
        unknown = set(self.loss_weights) - set(self.network.heads) - {"skeleton_recall"}
        if unknown:
            raise InputError(f"the training's loss_weights name no head of the network: {', '.join(sorted(unknown))}")

    def weight(self, term: str) -> float:
        """Return the weight of a head or of `skeleton_recall` in the loss; 1 when it is not given."""
        return float(self.loss_weights.get(term, 1.0))

    def at(self, fraction: float) -> TrainingConfiguration:
        """Return the configuration as it is when a fraction of the training is done: its patch and batch."""
        if self.first_patch is None or fraction >= self.first_share:
            return self
        more = math.prod(self.patch) / math.prod(self.first_patch)
        return replace(self, patch=self.first_patch, batch=max(1, int(self.batch * more)))

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values."""
        return asdict(self)


FINE = TrainingConfiguration(
    name="coronary",
    version="1.0",
    network=NetworkConfiguration(
        architecture="dynunet",
        channels=32,
        levels=4,
        spacing_mm=0.5,
        windows=((-0.5, 1.5), (1.0, 4.0)),
        heads=HEADS,
        shuffle=2,
        normalization="batch",
    ),
    first_patch=(64, 64, 64),
    first_share=0.6,
    loss_weights={"lumen": 1.0, "skeleton_recall": 0.5, "centerline_distance": 0.3, "ostium": 0.5, "vein": 0.2},
    sites={"artery": 0.4, "vein": 0.2, "ostium": 0.12},
    coarsening=3.2,
    zoom=0.25,
)
"""The fine network: coronary lumen at 0.5 mm."""

COARSE = TrainingConfiguration(
    name="coronary-zone",
    version="1.0",
    network=NetworkConfiguration(
        architecture="dynunet",
        channels=16,
        levels=4,
        spacing_mm=2.0,
        windows=((-1.0, 2.0), (0.0, 1.2)),
        heads=COARSE_HEADS,
        shuffle=2,
        normalization="batch",
    ),
    patch=(64, 64, 64),
    iterations=1500,
    sites={"artery": 0.5},
    blur_voxels=0.5,
    use_aorta=False,
)
"""The coarse network: heart, aorta and where coronary arteries can be, at 2 mm."""

PRESETS = {"fine": FINE, "coarse": COARSE}


def read_configuration(path: Path, preset: str = "fine") -> TrainingConfiguration:
    """Return the configuration of a JSON file, which may give only some fields; the others are those of the preset.

    Raises
    ------
    InputError : the file cannot be read, or a field is unknown or has no meaning.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"the configuration {path.name} cannot be opened: check the path") from None
    except ValueError as error:
        raise InputError(f"the configuration {path.name} is no JSON ({error}): correct it") from None
    return configuration_from_json(values, path.name, preset)


def configuration_from_json(
    values: Any, where: str = "the configuration", preset: str = "fine"
) -> TrainingConfiguration:
    """Return the configuration of plain JSON values (see `read_configuration`)."""
    if not isinstance(values, dict):
        raise InputError(f"{where} must hold a JSON object")
    values, base = dict(values), PRESETS[preset]
    unknown = set(values) - {entry.name for entry in fields(TrainingConfiguration)}
    if unknown:
        raise InputError(f"{where} has unknown fields: {', '.join(sorted(unknown))}")
    try:
        if "network" in values:
            values["network"] = NetworkConfiguration.from_json({**base.network.to_json(), **values["network"]})
        for name in ("patch", "first_patch"):
            if values.get(name) is not None:
                values[name] = tuple(int(size) for size in values[name])
        return replace(base, **values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} has a field of the wrong kind ({error})") from None
