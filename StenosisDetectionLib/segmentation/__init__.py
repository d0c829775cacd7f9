"""Segmentation of the coronary lumen and the aorta: a CT volume comes in, masks on one grid go out."""
