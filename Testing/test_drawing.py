"""Where a vessel and its edges lie in the views, as plain numbers."""

import dataclasses

import numpy as np
import pytest
from browse_helpers import vessel_of

from StenosisDetectionLib.centerline.frames import rotation_minimizing_frames
from StenosisDetectionLib.gui.browse import VesselPath


def test_slice_matrices_are_as_left_handed_as_those_of_slicer():
    import slicer

    from StenosisDetectionLib.scene import create_scene

    scene = create_scene()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    view.SetOrientation("Axial")
    axial = np.array([[view.GetSliceToRAS().GetElement(i, j) for j in range(3)] for i in range(3)])
    path = vessel_of()
    for matrix in (
        path.cross_section(3.0),
        path.cross_section(3.0, 33.0, flip=True),
        path.long_axis(3.0, 70.0),
    ):
        assert np.sign(np.linalg.det(matrix[:3, :3])) == np.sign(np.linalg.det(axial))


def test_the_edges_of_a_bent_vessel_lie_on_its_lumen():
    """A pixel of an edge, taken back to the patient by the image, lies one radius from the centerline."""
    from StenosisDetectionLib.gui.drawing import curved_drawing
    from StenosisDetectionLib.reformation import curved
    from StenosisDetectionLib.study import CTVolume, LumenProfile, Vessel

    count, bend_mm, radius_mm = 240, 25.0, 2.0
    angle = 0.25 * np.arange(count) / bend_mm
    points = np.stack([bend_mm * np.cos(angle), bend_mm * np.sin(angle), 6.0 * np.sin(2.0 * angle)], axis=1)
    distance = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    vessel = Vessel("RCA", None, None, points, distance, np.full(count, radius_mm))
    known = {field.name: np.full(count, np.nan) for field in dataclasses.fields(LumenProfile)}
    known |= {
        "vessel": "RCA",
        "frames": rotation_minimizing_frames(points),
        "contour_center_ras": points,
        "contour_radius_mm": np.full((count, 32), radius_mm),
    }
    path = VesselPath(vessel, LumenProfile(**known), None)
    volume = CTVolume(np.zeros((8, 8, 8), np.float32), np.eye(4))
    for rotation in (0.0, 50.0, 140.0):
        image = curved(volume, vessel, rotation, 10.0, 0.25)
        drawing = curved_drawing(path, image)
        for edge in drawing.edges:
            for x, y in edge[20:-20:5]:
                if np.isfinite(x):
                    place = image.to_ras(x / image.pixel_mm, (y + drawing.height_mm / 2.0) / image.pixel_mm)
                    nearest = np.linalg.norm(points - place, axis=1).min()
                    assert nearest == pytest.approx(radius_mm, abs=0.2)
        lengths = np.linalg.norm(np.diff(drawing.path, axis=0), axis=1)
        assert np.median(lengths) == pytest.approx(0.25, abs=0.05)


def test_the_edges_follow_the_contour_in_any_direction():
    """An ellipse whose long axis lies along the first vector of the frame."""
    import dataclasses

    path = vessel_of("RCA")
    count = path.profile.contour_radius_mm.shape[1]
    angle = 2 * np.pi * np.arange(count) / count
    ellipse = 2.0 * 1.0 / np.hypot(1.0 * np.cos(angle), 2.0 * np.sin(angle))
    profile = dataclasses.replace(path.profile, contour_radius_mm=np.tile(ellipse, (len(path.profile.frames), 1)))
    path = dataclasses.replace(path, profile=profile)
    for axis, expected in ((1, 2.0), (2, 1.0)):
        low, high = path.edges_mm(profile.frames[:, axis])
        assert np.allclose(low, expected)
        assert np.allclose(high, -expected)


def test_the_frames_of_the_lumen_are_those_of_the_straightened_image():
    """Only then do long axis and straightened view turn together; the measuring stage uses the same frames."""
    from StenosisDetectionLib.lumen import sections

    assert sections.rotation_minimizing_frames is rotation_minimizing_frames
