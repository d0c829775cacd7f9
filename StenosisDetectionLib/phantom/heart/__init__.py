"""Whole synthetic hearts: chest, chambers, great vessels, coronary trees and their disease, drawn from a seed."""

from .families import FAMILIES, HELD_OUT_FAMILIES, TRAINING_FAMILIES
from .plan import HeartPlan
from .planning import plan_heart

__all__ = ["FAMILIES", "HELD_OUT_FAMILIES", "TRAINING_FAMILIES", "HeartPlan", "plan_heart"]
