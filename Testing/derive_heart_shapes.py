"""Derives `Resources/heart/shape_model.json` from label maps of aorta and left ventricle of real patients.

Run it with the folder that holds `aorta/` and `left_ventricle/` (label maps of the same names, NIfTI):

    python Testing/derive_heart_shapes.py FOLDER

Every patient gives one vector of positions relative to the aortic annulus (the mean of the aortic voxels within 4 mm of
the ventricle) in RAS mm; the model is their mean and principal modes.
"""

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from conftest import REPOSITORY
from scipy import ndimage
from scipy.spatial import cKDTree

from StenosisDetectionLib.phantom.heart.measured import ASCENDING_MM, DESCENDING_MM

MODES = 4
NAMES = (
    [f"ventricle_center_{a}" for a in "xyz"]
    + [f"long_axis_{a}" for a in "xyz"]
    + ["semi_axis_long", "semi_axis_wide", "semi_axis_thin"]
    + [f"ascending_{n}_{a}" for n in range(3) for a in ("x", "y", "diameter")]
    + [f"descending_{n}_{a}" for n in range(3) for a in ("x", "y", "diameter")]
)


def points_of(path):
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    mask = sitk.GetArrayFromImage(image) > 0
    spacing, origin = np.array(image.GetSpacing()), np.array(image.GetOrigin())
    return mask, spacing, origin


def ras(index_kji, spacing, origin):
    return (index_kji[..., ::-1] * spacing + origin) * [-1, -1, 1]


def features(aorta_path, ventricle_path):
    aorta, spacing, origin = points_of(aorta_path)
    ventricle = points_of(ventricle_path)[0]
    pool = ras(np.argwhere(ventricle), spacing, origin)
    wall = ras(np.argwhere(aorta)[::5], spacing, origin)
    annulus = wall[cKDTree(pool[::7]).query(wall)[0] < 4].mean(axis=0)
    center = pool.mean(axis=0) - annulus
    variance, axes = np.linalg.eigh(np.cov((pool - annulus - center).T))
    long = axes[:, 2] * np.sign(axes[:, 2] @ center)
    values = [*center, *long, *np.sqrt(5 * variance[::-1])]

    def sections(heights, posterior):
        for height in heights:
            plane = np.clip(round((annulus[2] + height - origin[2]) / spacing[2]), 0, len(aorta) - 1)
            labels, count = ndimage.label(aorta[plane])
            parts = []
            for number in range(1, count + 1):
                area = (labels == number).sum() * spacing[0] * spacing[1]
                index = np.array([plane, *ndimage.center_of_mass(labels == number)])
                parts.append((*(ras(index, spacing, origin) - annulus)[:2], 2 * np.sqrt(area / np.pi)))
            parts = [part for part in parts if part[2] > 12]
            yield from min(parts, key=lambda part: part[1] if posterior else -part[1])

    values += sections(ASCENDING_MM, False)
    values += sections(DESCENDING_MM, True)
    return np.array(values)


def main(folder):
    rows = []
    for path in sorted((folder / "aorta").glob("*.nii.gz")):
        rows.append(features(path, folder / "left_ventricle" / path.name))
        print(path.name, np.round(rows[-1], 1))
    table = np.array(rows)
    mean = table.mean(axis=0)
    _, strength, modes = np.linalg.svd(table - mean, full_matrices=False)
    deviations = strength / np.sqrt(len(table) - 1)
    print("explained:", np.round(np.cumsum(strength**2) / (strength**2).sum(), 3))
    model = {
        "schema": "stenosis-detection/heart-shape/1",
        "source": "saitta-s/vascular-model-prep, data/labels, MIT license",
        "patients": len(table),
        "names": list(NAMES),
        "mean": np.round(mean, 3).tolist(),
        "standard_deviation": np.round(table.std(axis=0, ddof=1), 3).tolist(),
        "modes": np.round(modes[:MODES] * deviations[:MODES, None], 3).tolist(),
    }
    target = REPOSITORY / "Resources" / "heart" / "shape_model.json"
    target.write_text(json.dumps(model, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
