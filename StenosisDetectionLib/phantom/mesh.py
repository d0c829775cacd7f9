"""Closed triangle meshes: reading, cutting across a vessel, splitting edges. RAS, mm."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..geometry import transform_points


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """Points (N, 3) and triangles (M, 3) of point indices, counterclockwise seen from outside."""

    points: np.ndarray
    triangles: np.ndarray

    def bounds(self) -> np.ndarray:
        """Return the lowest and the highest coordinates, (2, 3)."""
        return np.stack([self.points.min(axis=0), self.points.max(axis=0)])

    def transformed(self, matrix: np.ndarray) -> "TriangleMesh":
        """Return the mesh with its points mapped by a 4 x 4 affine."""
        return TriangleMesh(transform_points(matrix, self.points), self.triangles)

    def to_vtk(self) -> Any:
        """Return the mesh as vtkPolyData."""
        import vtk
        from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

        points = vtk.vtkPoints()
        points.SetData(numpy_to_vtk(np.ascontiguousarray(self.points, dtype=np.float64), deep=True))
        cells = vtk.vtkCellArray()
        offsets = np.arange(0, 3 * len(self.triangles) + 1, 3)
        cells.SetData(
            numpy_to_vtkIdTypeArray(offsets.astype(np.int64), deep=True),
            numpy_to_vtkIdTypeArray(self.triangles.astype(np.int64).ravel(), deep=True),
        )
        data = vtk.vtkPolyData()
        data.SetPoints(points)
        data.SetPolys(cells)
        return data


def read_mesh(path: Path) -> TriangleMesh:
    """Read a triangle mesh from a VTK XML file (.vtp)."""
    from vtk.util.numpy_support import vtk_to_numpy

    data = _read_polydata(path)
    triangles = vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return TriangleMesh(vtk_to_numpy(data.GetPoints().GetData()).astype(np.float64), triangles.astype(np.int64))


def read_lines(path: Path) -> list[np.ndarray]:
    """Read the polylines (N, 3) of a VTK XML file (.vtp) in their order."""
    from vtk.util.numpy_support import vtk_to_numpy

    data = _read_polydata(path)
    points = vtk_to_numpy(data.GetPoints().GetData()).astype(np.float64)
    indices = vtk_to_numpy(data.GetLines().GetConnectivityArray())
    offsets = vtk_to_numpy(data.GetLines().GetOffsetsArray())
    return [points[indices[a:b]] for a, b in itertools.pairwise(offsets)]


def _read_polydata(path: Path) -> Any:
    import vtk

    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


@dataclass(frozen=True, eq=False)
class Sections:
    """Sections of a mesh along a line: equivalent diameter 2 sqrt(A / pi) and largest radius, (N,) in mm."""

    diameter_mm: np.ndarray
    largest_radius_mm: np.ndarray


def cut_sections(mesh: TriangleMesh, points: np.ndarray, tangents: np.ndarray) -> Sections:
    """Cut a mesh at points (N, 3) of a line, normal to its tangents (N, 3); NaN where the plane misses it.

    A is the area of the connected contour nearest to the point, cut by vtkCutter.
    """
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    plane = vtk.vtkPlane()
    cutter = vtk.vtkCutter()
    cutter.SetInputData(mesh.to_vtk())
    cutter.SetCutFunction(plane)
    nearest = vtk.vtkPolyDataConnectivityFilter()
    nearest.SetInputConnection(cutter.GetOutputPort())
    nearest.SetExtractionModeToClosestPointRegion()
    loops = vtk.vtkStripper()  # vtkCutter gives the segments in no order
    loops.SetInputConnection(nearest.GetOutputPort())
    loops.JoinContiguousSegmentsOn()
    loops.SetMaximumLength(100_000)
    diameter = np.full(len(points), np.nan)
    radius = np.full(len(points), np.nan)
    for n, (point, tangent) in enumerate(zip(points, tangents, strict=True)):
        plane.SetOrigin(point)
        plane.SetNormal(tangent)
        nearest.SetClosestPoint(point)
        loops.Update()
        contour = loops.GetOutput()
        if contour.GetNumberOfLines() == 0:
            continue
        ends = vtk_to_numpy(contour.GetPoints().GetData()).astype(np.float64) - point
        order = vtk_to_numpy(contour.GetLines().GetConnectivityArray())
        borders = vtk_to_numpy(contour.GetLines().GetOffsetsArray())
        area = sum(
            0.5 * abs(float(np.cross(ends[order[a : b - 1]], ends[order[a + 1 : b]]).sum(axis=0) @ tangent))
            for a, b in itertools.pairwise(borders)
        )
        diameter[n] = 2 * np.sqrt(area / np.pi)
        radius[n] = float(np.linalg.norm(ends, axis=1).max())
    return Sections(diameter, radius)


def split_long_edges(
    mesh: TriangleMesh, longest_mm: float, bounds: np.ndarray, selected: Callable[[np.ndarray], np.ndarray]
) -> TriangleMesh:
    """Return the mesh with every edge longer than `longest_mm` halved until none is left where it is selected.

    `selected` maps edge centers (N, 3) to bool (N,); `bounds` (2, 3) must hold all that it selects. The surface does
    not change and stays closed: both triangles of an edge are split at the same new point.
    """
    centers = mesh.points[mesh.triangles].mean(axis=1)
    longest = np.linalg.norm(mesh.points[mesh.triangles[:, 0]] - mesh.points[mesh.triangles[:, 1]], axis=1).max()
    near = ((centers > bounds[0] - 2 * longest) & (centers < bounds[1] + 2 * longest)).all(axis=1)
    points, triangles = mesh.points, mesh.triangles[near]
    while True:
        corner_edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        # One number an edge: finding the unique ones is then much faster.
        numbers, of_corner = np.unique(corner_edges[:, 0] * len(points) + corner_edges[:, 1], return_inverse=True)
        edges = np.stack([numbers // len(points), numbers % len(points)], axis=1)
        middle = points[edges].mean(axis=1)
        marked = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1) > longest_mm
        marked[marked] = selected(middle[marked])
        if not marked.any():
            return TriangleMesh(points, np.concatenate([mesh.triangles[~near], triangles]))
        new_index = np.full(len(edges), -1)
        new_index[marked] = len(points) + np.arange(int(marked.sum()))
        points = np.concatenate([points, middle[marked]])
        triangles = _split_triangles(triangles, new_index[of_corner].reshape(-1, 3))


def _split_triangles(triangles: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return the triangles split at the new points `middle` (M, 3) of their edges 01, 12, 20 (-1: not split)."""
    result = [triangles[(middle < 0).all(axis=1)]]
    count = (middle >= 0).sum(axis=1)
    for turn in range(3):
        a, b, c = np.roll(triangles, -turn, axis=1).T
        ab, bc, ca = np.roll(middle, -turn, axis=1).T
        one = (count == 1) & (ab >= 0)
        result += [np.stack([a, ab, c], axis=1)[one], np.stack([ab, b, c], axis=1)[one]]
        two = (count == 2) & (ca < 0)
        result += [np.stack(t, axis=1)[two] for t in ((ab, b, bc), (a, ab, bc), (a, bc, c))]
        if turn == 0:
            three = count == 3
            result += [np.stack(t, axis=1)[three] for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.concatenate(result)
