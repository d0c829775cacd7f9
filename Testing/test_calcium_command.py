"""The command `calcium`: a chest without contrast agent whose calcium is counted by hand, and refusals."""

import csv
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk

from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.stenosis import plaque_burden_of_score

SPACING = (0.8, 0.8, 3.0)
SHAPE = (40, 150, 180)


def chest(blood_hu: float = 45.0) -> np.ndarray:
    """Lungs, soft tissue, an ascending and a descending aorta, a bright spine; noise of 12 HU."""
    _, j, i = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    x, y = (i - 90) * SPACING[0], (j - 75) * SPACING[1]
    voxels = np.where((x / 65) ** 2 + (y / 52) ** 2 < 1, 40.0, -1000.0)
    voxels[(np.abs(x) > 28) & ((x / 60) ** 2 + (y / 46) ** 2 < 1)] = -850.0
    for center_x, center_y, radius in ((-6.0, -8.0, 15.0), (14.0, 26.0, 11.0)):
        voxels[np.hypot(x - center_x, y - center_y) < radius] = blood_hu
    voxels[np.hypot(x, y - 42) < 7] = 500.0
    return voxels + np.random.default_rng(2).normal(0.0, 12.0, SHAPE)


def write(path: Path, voxels: np.ndarray, names: dict[int, str] | None = None) -> str:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(SPACING)
    for number, (value, name) in enumerate((names or {}).items()):
        for key, text in {"Name": name, "LabelValue": str(value), "Layer": "0", "ID": f"s{value}"}.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
    sitk.WriteImage(image, str(path), useCompression=True)
    return str(path)


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> tuple[str, str]:
    """A plain scan with two deposits in the LAD (one in two slices), one in the RCA, one in the aorta; and regions."""
    folder = tmp_path_factory.mktemp("calcium")
    voxels, labels = chest(), np.zeros(SHAPE, np.uint8)
    labels[10:20, 40:70, 30:60], labels[10:20, 40:70, 100:130], labels[10:30, 75:90, 80:95] = 1, 2, 3
    voxels[12:14, 45:50, 40:44] = 450.0  # 20 pixels of 0.64 mm2, twice
    voxels[16, 60:63, 50:52] = 250.0  # 6 pixels
    voxels[15, 50:54, 110:115] = 180.0  # 20 pixels
    voxels[20, 80:84, 85:89] = 800.0  # in the wall of the aorta
    names = {1: "LAD", 2: "RCA", 3: "Aorta"}
    return write(folder / "scan.nrrd", voxels.astype(np.int16)), write(folder / "regions.seg.nrrd", labels, names)


def test_scores_each_artery_and_all_of_them(scan, capsys, tmp_path, repository):
    image, regions = scan
    request = ["calcium", image, "--regions", regions, "--output", str(tmp_path / "out"), "--calibration", "0.001"]
    assert main(request) == 0
    captured = capsys.readouterr()
    path = Path(captured.out.strip())
    assert path.name == "calcium.json" and path.parent.name.startswith("case-")
    result = json.loads(path.read_text("utf-8"))
    schema = json.loads((repository / "Resources" / "schema" / "calcium.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(result)
    pixel = 0.64
    lad, rca = pixel * (20 * 4 * 2 + 6 * 2), pixel * 20
    assert result["agatston"] == pytest.approx(lad + rca, abs=0.06)
    assert [(one["region"], one["lesions"]) for one in result["regions"]] == [("LAD", 2), ("RCA", 1)]
    assert [one["agatston"] for one in result["regions"]] == pytest.approx([lad, rca], abs=0.06)
    assert result["volume_mm3"] == pytest.approx(66 * pixel * 3.0, abs=0.06)
    assert result["mass_mg"] == pytest.approx(0.001 * pixel * 3.0 * (40 * 450 + 6 * 250 + 20 * 180), rel=0.01)
    assert (result["lesions"], result["plaque_burden"]) == (3, "P2")
    assert "Agatston 123, volume 127 mm3" in captured.err
    rows = list(csv.DictReader((path.parent / "calcium.csv").open(encoding="utf-8", newline="")))
    assert [row["region"] for row in rows] == ["LAD", "RCA", "all"]
    assert main(request) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert main([*request, "--overwrite", "--quiet"]) == 0
    assert sorted(one.name for one in path.parent.iterdir()) == ["calcium.csv", "calcium.json"]


def test_regions_in_another_grid_count_the_same(scan, capsys, tmp_path):
    image, regions = scan
    fine = sitk.ReadImage(regions)
    half = sitk.Resample(fine, [360, 300, 80], sitk.Transform(), sitk.sitkNearestNeighbor, [-0.2, -0.2, -0.75],
                         [0.4, 0.4, 1.5], fine.GetDirection(), 0)  # fmt: skip
    for key in fine.GetMetaDataKeys():
        if key.startswith("Segment"):
            half.SetMetaData(key, fine.GetMetaData(key))
    sitk.WriteImage(half, str(tmp_path / "half.seg.nrrd"), useCompression=True)
    assert main(["calcium", image, "--regions", str(tmp_path / "half.seg.nrrd"), "--output", str(tmp_path)]) == 0
    result = json.loads(Path(capsys.readouterr().out.strip()).read_text("utf-8"))
    assert result["agatston"] == pytest.approx(0.64 * 192, abs=0.06) and result["mass_mg"] is None


def test_an_angiogram_is_refused_in_one_line_and_leaves_nothing(scan, capsys, tmp_path):
    _, regions = scan
    angiogram = write(tmp_path / "cta.nrrd", chest(blood_hu=380.0).astype(np.int16))
    assert main(["calcium", angiogram, "--regions", regions, "--output", str(tmp_path / "out"), "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "in an angiogram the blood itself exceeds 130 HU" in line
    assert not (tmp_path / "out").exists()


def test_unusable_requests(scan, capsys, tmp_path):
    image, regions = scan
    out = ["--output", str(tmp_path / "out")]
    aorta = np.zeros(SHAPE, np.uint8)
    aorta[10:20, 40:70, 30:60] = 1
    only_aorta = write(tmp_path / "aorta.seg.nrrd", aorta, {1: "Aorta"})
    for arguments, words in (
        ([image], "--regions"),
        ([image, "--regions", regions, "--calibration", "-1"], "is no number above 0"),
        ([image, "--regions", str(tmp_path / "none.nrrd")], "does not exist"),
        ([image, "--regions", only_aorta], "holds no coronary artery"),
    ):
        assert main(["calcium", *arguments, *out]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("agatston", "burden"),
    [
        (0, None), (0.5, "P1"), (1, "P1"), (100, "P1"), (100.9, "P1"), (101, "P2"), (300, "P2"), (301, "P3"),
        (999, "P3"), (1000, "P4"), (2500, "P4"),
    ],
)  # fmt: skip
def test_plaque_burden_by_calcium_score(agatston: float, burden: str | None) -> None:
    assert plaque_burden_of_score(agatston) == burden
