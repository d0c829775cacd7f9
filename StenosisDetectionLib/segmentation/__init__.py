"""Segmentation of the coronary lumen and the aorta: a CT volume comes in, masks on one grid go out."""

from .aorta import Aorta, find_aorta
from .given import segmentation_from_labels
from .models import RegisteredModel, get_model, list_models, segment

__all__ = [
    "Aorta",
    "RegisteredModel",
    "find_aorta",
    "get_model",
    "list_models",
    "segment",
    "segmentation_from_labels",
]
