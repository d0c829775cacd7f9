"""Augmentation of training patches: another size of the vessels and larger voxels, with the truth going along."""

import dataclasses

import numpy as np
import pytest
import torch

from StenosisDetectionLib.models.network import DISTANCE_LIMIT_MM, HEADS, NetworkConfiguration
from StenosisDetectionLib.training import patches
from StenosisDetectionLib.training.cases import CaseInformation, open_case, write_case
from StenosisDetectionLib.training.configuration import FINE

PLAIN = dataclasses.replace(
    FINE,
    network=NetworkConfiguration("dynunet", 8, 3, 0.5, FINE.network.windows, HEADS, 2),
    patch=(16, 32, 32),
    batch=1,
    first_patch=None,
    sites={"artery": 1.0},
    noise_hu=0.0,
    blur_voxels=0.0,
    aorta_error=0.0,
    coarsening=1.0,
    zoom=0.0,
)


@pytest.fixture
def tube(tmp_path):
    """A straight tube of 4 mm along k in fat."""
    shape = (60, 60, 60)
    _, j, i = np.indices(shape).astype(float)
    distance = np.hypot(j - 30, i - 30) * 0.5
    lumen = np.clip((2.0 - distance) / 0.5 + 0.5, 0, 1)
    targets = {"lumen": lumen, "centerline_distance": np.minimum(distance, DISTANCE_LIMIT_MM)}
    information = CaseInformation("tube", "synthetic", 0.5, 400.0, tuple(targets))
    ignore = np.zeros(shape, dtype=bool)
    ignore[:, :, :20] = True
    write_case(tmp_path / "tube", information, -90 + 490 * lumen, targets, ignore)
    return open_case(tmp_path / "tube")


def diameter_mm(lumen):
    """The diameter of the tube in the middle of a patch, from the area of its lumen."""
    return float(2 * np.sqrt(lumen[8].sum() * 0.25 / np.pi))


def test_zoom_changes_the_vessel_and_its_truth_alike(tube, monkeypatch):
    monkeypatch.setattr(patches, "_ZOOM_SHARE", 1.0)
    monkeypatch.setattr(patches, "_JITTER", 0.1)
    zoomed = dataclasses.replace(PLAIN, zoom=0.5)
    seen = []
    for number in range(12):
        batch = patches.patch_batch([tube], zoomed, number)
        lumen, distance = batch.targets[0, 0].numpy(), batch.targets[0, 1].numpy() * DISTANCE_LIMIT_MM
        diameter = diameter_mm(lumen)
        blood = batch.image[0, 0, 8].numpy() * 2 - 0.5  # the first window back to units of the contrast
        core = blood[lumen[8] > 0.99].mean()  # offset and gain differ from patch to patch
        rim = blood[blood.shape[0] - 1].min()
        assert diameter_mm((batch.image[0, 0].numpy() * 2 - 0.5 - rim) / (core - rim)) == pytest.approx(
            diameter, rel=0.1
        )
        edge = distance[8][(lumen[8] > 0.35) & (lumen[8] < 0.65)]
        if edge.size:
            assert edge.mean() == pytest.approx(diameter / 2, abs=0.2)
        seen.append(diameter)
    assert min(seen) < 3.6
    assert max(seen) > 4.4
    assert all(4.0 / 1.55 < diameter < 4.0 * 1.55 for diameter in seen)
    # One that is not zoomed has the diameter of the study.
    assert diameter_mm(patches.patch_batch([tube], PLAIN, 0).targets[0, 0].numpy()) == pytest.approx(4.0, abs=0.1)


def test_what_is_ignored_stays_ignored_under_zoom(tube, monkeypatch):
    monkeypatch.setattr(patches, "_ZOOM_SHARE", 1.0)
    zoomed = dataclasses.replace(PLAIN, zoom=0.5)
    for number in range(6):
        weight = patches.patch_batch([tube], zoomed, number).weight[0, 0]
        assert set(weight.unique().tolist()) <= {0.0, 1.0}
        counted = weight[0, 0].tolist()
        assert counted == sorted(counted), "the ignored side stays on its side, in one piece"


def test_larger_voxels_blur_the_image_and_leave_the_truth(tube, monkeypatch):
    monkeypatch.setattr(patches, "_COARSE_SHARE", 1.0)
    coarse = dataclasses.replace(PLAIN, coarsening=4.0)
    sharp, blurred = ([patches.patch_batch([tube], which, n) for n in range(8)] for which in (PLAIN, coarse))

    def steepest(batch):
        return float(batch.image[0, 0].diff(dim=-1).abs().max())

    assert np.mean([steepest(batch) for batch in blurred]) < 0.8 * np.mean([steepest(batch) for batch in sharp])
    for batch in blurred:
        assert diameter_mm(batch.targets[0, 0].numpy()) == pytest.approx(4.0, abs=0.1)


def test_validation_is_not_augmented(tube):
    plain, changed = (
        patches.patch_batch([tube], configuration, 3, augment=False)
        for configuration in (PLAIN, dataclasses.replace(PLAIN, zoom=0.5, coarsening=4.0))
    )
    assert torch.equal(plain.image, changed.image)
    assert torch.equal(plain.targets, changed.targets)
