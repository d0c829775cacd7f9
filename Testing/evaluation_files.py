"""Results of two small studies as files, and phantoms, label maps and truths that say they are right."""

import json

import numpy as np
import SimpleITK as sitk
from studies import small_study

from StenosisDetectionLib.geometry import LPS_TO_RAS, spacing_of
from StenosisDetectionLib.writing.document import document_text, report_document

CASES = {"case-1": 1, "case-2": 2}


def write_image(path, voxels, ijk_to_ras, names=None):
    matrix, spacing = LPS_TO_RAS @ ijk_to_ras, spacing_of(ijk_to_ras)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetDirection((matrix[:3, :3] / np.array(spacing)).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    for number, (value, name) in enumerate((names or {}).items()):
        for key, text in {"Name": name, "LabelValue": str(value), "Layer": "0", "ID": f"s{value}"}.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
    sitk.WriteImage(image, str(path), useCompression=True)


def write_labels(path, labels):
    write_image(path, labels.labels, labels.ijk_to_ras, labels.names)


def truth_of(study):
    """Return the truth.json that the result of a study is right about."""
    return {
        "coordinate_system": "RAS",
        "kind": "toy",
        "dominance": study.tree.dominance,
        "vessels": [
            {
                "name": vessel.name,
                "parent": vessel.parent,
                "parent_distance_mm": vessel.parent_distance_mm,
                "points_ras": vessel.points_ras.tolist(),
                "distance_mm": vessel.distance_mm.tolist(),
                "healthy_diameter_mm": [None, *reference.diameter_mm[1:].tolist()],
                "segments": [[s.number, s.start_mm, s.end_mm] for s in vessel.segments],
            }
            for vessel, reference in zip(study.tree.vessels, study.references, strict=True)
        ],
        "lesions": [
            {
                "vessel": lesion.vessel,
                "start_mm": lesion.start_mm,
                "throat_mm": lesion.throat_mm,
                "end_mm": lesion.end_mm,
                "position_ras": lesion.position_ras,
                "diameter_stenosis_percent": lesion.diameter_stenosis_percent,
                "minimal_lumen_diameter_mm": lesion.minimal_lumen_diameter_mm,
                "reference_diameter_mm": lesion.reference_diameter_mm,
                "plaque": "mixed",
            }
            for lesion in study.lesions
        ],
    }


def write_folders(root):
    """Write `results` and `phantoms` of both cases, and the rest of an interrupted third."""
    for case, seed in CASES.items():
        study = small_study(case, seed)
        result, truth = root / "results" / case, root / "phantoms" / case
        result.mkdir(parents=True)
        truth.mkdir(parents=True)
        (result / "report.json").write_text(document_text(report_document(study)), encoding="utf-8")
        write_labels(result / "segmentation.seg.nrrd", study.labels)
        write_labels(truth / "truth.seg.nrrd", study.labels)
        (truth / "truth.json").write_text(json.dumps(truth_of(study)), encoding="utf-8")
    (root / "results" / ".case-3.partial-1").mkdir()
    return root
