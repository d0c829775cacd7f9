"""From files to a `CTVolume` in HU and RAS, or a clear refusal in one line."""

from .centerlines import read_centerlines
from .checks import check_contrast, check_given_lumen, check_volume
from .label_maps import read_label_map
from .volumes import read_volume

__all__ = ["check_contrast", "check_given_lumen", "check_volume", "read_centerlines", "read_label_map", "read_volume"]
