"""Synthetic CT angiography with analytic truth: the demo study and the phantoms of the tests."""

from .demo import demo_study
from .truth import LesionShape, LesionTruth, Phantom, PhantomTruth, VesselTruth
from .writing import write_phantom

__all__ = ["LesionShape", "LesionTruth", "Phantom", "PhantomTruth", "VesselTruth", "demo_study", "write_phantom"]
