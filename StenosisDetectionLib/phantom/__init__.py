"""Synthetic CT angiography with analytic truth: the demo study and the phantoms of the tests."""

from .assembly import Grid, Physics, grid_around, render_study
from .demo import demo_study
from .toy import toy_study
from .tree import tree_study, tree_vessel, y_bifurcation
from .truth import LesionShape, LesionTruth, Phantom, PhantomTruth, VesselTruth
from .writing import write_phantom

__all__ = [
    "Grid",
    "LesionShape",
    "LesionTruth",
    "Phantom",
    "PhantomTruth",
    "Physics",
    "VesselTruth",
    "demo_study",
    "grid_around",
    "render_study",
    "toy_study",
    "tree_study",
    "tree_vessel",
    "write_phantom",
    "y_bifurcation",
]
