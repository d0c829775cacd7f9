"""The architecture of the learned networks and the meaning of what they put out.

In: a batch (B, C, k, j, i) of input channels (see `inputs`) on an isotropic grid whose axes i, j, k grow toward R, A
and S. Out: (B, H, k, j, i) raw values on the same grid, one channel per head; `activate` turns them into
probabilities and millimeters.

The body is MONAI's SegResNet (Myronenko 2018) or DynUNet (Isensee 2021). With `shuffle` 2 it works on a grid twice as
coarse: 2 x 2 x 2 neighboring voxels become channels on the way in and voxels again on the way out (Shi 2016), so that
no voxel is lost while a processor has several times less to do and the field of view doubles.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    import torch

HEADS = ("lumen", "centerline_distance", "ostium", "vein")
"""Heads of the fine network: fraction of a voxel that is coronary lumen, distance to the nearest coronary centerline,
nearness to a coronary ostium, and whether what is bright here is a vein."""

COARSE_HEADS = ("heart", "aorta", "coronary_zone")
"""Heads of the coarse network: the heart with its fat, the aorta, and where coronary arteries can be."""

DISTANCE_LIMIT_MM = 3.0
"""Distances to a centerline are told up to here."""

_DISTANCE_HEADS = frozenset({"centerline_distance"})

ARCHITECTURES = ("segresnet", "dynunet")
FORMAT_VERSION = 1


@dataclass(frozen=True)
class NetworkConfiguration:
    """Everything that is needed to build a network and to feed it; stored with its weights.

    Parameters
    ----------
    architecture : one of `ARCHITECTURES`.
    channels : filters of the finest level of the body.
    levels : resolution levels of the body; each halves the grid.
    spacing_mm : voxel spacing of input and output, isotropic.
    windows : one input channel each: (low, high) in units of (HU - fat) / (aorta - fat), clipped and mapped to 0...1.
    heads : names of the output channels, in order.
    shuffle : 1, or 2 to let the body work on a grid twice as coarse.
    normalization : `instance` or `batch`.
    version : of this format.

    Raises
    ------
    ModelError : a value that this version of the program cannot build.
    """

    architecture: str
    channels: int
    levels: int
    spacing_mm: float
    windows: tuple[tuple[float, float], ...]
    heads: tuple[str, ...]
    shuffle: int = 2
    normalization: str = "batch"
    version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        known = HEADS + COARSE_HEADS
        for wrong in (
            self.version != FORMAT_VERSION and f"format version {self.version}",
            self.architecture not in ARCHITECTURES and f"architecture '{self.architecture}'",
            self.normalization not in ("instance", "batch") and f"normalization '{self.normalization}'",
            self.shuffle not in (1, 2) and f"shuffle {self.shuffle}",
            not (3 if self.architecture == "dynunet" else 1) <= self.levels <= 7 and f"{self.levels} levels",
            not 1 <= self.channels <= 512 and f"{self.channels} channels",
            not 0.1 <= self.spacing_mm <= 10.0 and f"a spacing of {self.spacing_mm} mm",
            (not self.windows or any(not low < high for low, high in self.windows)) and f"windows {self.windows}",
            (not self.heads or not set(self.heads) <= set(known)) and f"heads {self.heads}",
        ):
            if wrong:
                raise ModelError(f"this version of the program cannot build a network with {wrong}: update one of them")

    @property
    def divisor(self) -> int:
        """Input sizes along k, j and i must be multiples of this."""
        return self.shuffle * 2 ** (self.levels - 1)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NetworkConfiguration:
        """Return the configuration of plain JSON values.

        Raises
        ------
        ModelError : a field is unknown, missing or of the wrong kind.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ModelError(f"the network's configuration has unknown fields ({', '.join(sorted(unknown))}): update")
        try:
            return cls(
                **{
                    **values,
                    "windows": tuple((float(low), float(high)) for low, high in values["windows"]),
                    "heads": tuple(str(head) for head in values["heads"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the network's configuration is incomplete or damaged ({error})") from None


def build_network(configuration: NetworkConfiguration) -> torch.nn.Module:
    """Return the network of a configuration with random weights.

    It takes (B, C, k, j, i) with sizes that are multiples of `configuration.divisor` and returns (B, H, k, j, i) raw
    values on the same grid.

    Raises
    ------
    ModelError : MONAI is not installed.
    """
    try:
        from monai.networks.nets import DynUNet, SegResNet
        from monai.networks.utils import pixelshuffle, pixelunshuffle
    except ImportError:
        raise ModelError(
            "the networks need the package monai: press Install packages in Slicer, or 'pip install monai'"
        ) from None
    from torch import Tensor, nn

    cells = configuration.shuffle**3
    inputs, outputs = len(configuration.windows) * cells, len(configuration.heads) * cells
    levels, channels = configuration.levels, configuration.channels
    normalization = (configuration.normalization, {"affine": True})
    body: nn.Module
    if configuration.architecture == "segresnet":
        body = SegResNet(
            spatial_dims=3,
            init_filters=channels,
            in_channels=inputs,
            out_channels=outputs,
            norm=normalization,
            blocks_down=(1,) + (2,) * (levels - 1),
            blocks_up=(1,) * (levels - 1),
        )
    else:
        body = DynUNet(
            spatial_dims=3,
            in_channels=inputs,
            out_channels=outputs,
            kernel_size=[3] * levels,
            strides=[1] + [2] * (levels - 1),
            upsample_kernel_size=[2] * (levels - 1),
            filters=[min(channels * 2**level, 320) for level in range(levels)],
            norm_name=normalization,
        )

    class Network(nn.Module):
        """The body, with the shuffling around it."""

        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, image: Tensor) -> Tensor:
            if configuration.shuffle == 1:
                return self.body(image)
            return pixelshuffle(self.body(pixelunshuffle(image, 3, 2)), 3, 2)

    return Network()


def activate(output: torch.Tensor, configuration: NetworkConfiguration) -> torch.Tensor:
    """Return the raw values (B, H, k, j, i) of a network as float32: probabilities 0...1, and distances in mm."""
    import torch

    values = torch.sigmoid(output.float())
    for index, head in enumerate(configuration.heads):
        if head in _DISTANCE_HEADS:
            values[:, index] *= DISTANCE_LIMIT_MM
    return values
