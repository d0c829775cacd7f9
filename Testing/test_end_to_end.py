"""The whole walk through the house: a study in a file goes in, files come out, in every format and any direction."""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK
from dicom_writer import PATIENT_WORDS, write_series

from StenosisDetectionLib import AnalysisOptions, analyze, read_label_map, read_volume
from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.errors import Cancelled, InputError
from StenosisDetectionLib.geometry import LPS_TO_RAS, spacing_of, transform_points
from StenosisDetectionLib.options import RESEARCH
from StenosisDetectionLib.phantom import Phantom, toy_study
from StenosisDetectionLib.progress import CancellableProgress, Progress
from StenosisDetectionLib.study import CTVolume, StudyResult

AXES = np.diag([-1.0, -1.0, 1.0])
"""An axial scan: i to the patient's left, j to the back, k to the head, in RAS."""


def tilt(degrees: tuple[float, float, float]) -> np.ndarray:
    """Rotation about R, A and S."""
    a, b, c = np.radians(degrees)
    about_r = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_a = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_s = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_s @ about_a @ about_r


DIRECTIONS = {
    "oblique": tilt((12.0, -9.0, 15.0)) @ AXES,
    "sagittal": np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]], float),
}


@pytest.fixture(scope="session")
def toy() -> Phantom:
    """An asymmetric study in oblique directions."""
    return toy_study(directions=DIRECTIONS["oblique"])


@pytest.fixture(scope="session")
def found(toy: Phantom) -> StudyResult:
    """What the product finds in it by itself."""
    return analyze(toy.volume, AnalysisOptions(device="cpu"))


@pytest.fixture(scope="session")
def measured(toy: Phantom) -> StudyResult:
    """What it measures in the true lumen, research options included."""
    return analyze(toy.volume, AnalysisOptions(device="cpu", research=RESEARCH), segmentation=toy.lumen)


def itk_image(volume: CTVolume) -> SimpleITK.Image:
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    image = SimpleITK.GetImageFromArray(np.round(volume.voxels).astype(np.int16))
    spacing = spacing_of(lps)
    image.SetSpacing(spacing)
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def write_image(name: str) -> Callable[[CTVolume, Path], Path]:
    def write(volume: CTVolume, folder: Path) -> Path:
        SimpleITK.WriteImage(itk_image(volume), str(folder / name))
        return folder / name

    return write


def write_dicom(volume: CTVolume, folder: Path) -> Path:
    write_series(folder / "dicom", np.round(volume.voxels), volume.ijk_to_ras)
    return folder / "dicom"


FORMATS = {name: write_image(f"cta{name}") for name in (".nrrd", ".nii.gz", ".nii", ".mha", ".mhd")}
FORMATS["DICOM"] = write_dicom


def attenuation(volume: CTVolume, points_ras: np.ndarray) -> np.ndarray:
    """HU at the voxels nearest to points in RAS."""
    ijk = np.round(transform_points(np.linalg.inv(volume.ijk_to_ras), points_ras)).astype(int)
    return volume.voxels[tuple(ijk[:, ::-1].T)]


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_right_coronary_artery_is_on_the_right_in_every_format(name: str, toy: Phantom, tmp_path: Path) -> None:
    volume = read_volume(FORMATS[name](toy.volume, tmp_path))
    (rca,) = (vessel for vessel in toy.truth.vessels if vessel.name == "RCA")
    (lad,) = (vessel for vessel in toy.truth.vessels if vessel.name == "LAD")
    assert rca.points_ras[:, 0].mean() > lad.points_ras[:, 0].mean() + 10.0
    wide = rca.diameter_mm > 2.5
    assert np.median(attenuation(volume, rca.points_ras[wide])) > 300.0
    np.testing.assert_allclose(attenuation(volume, rca.points_ras), attenuation(toy.volume, rca.points_ras), atol=0.5)


def test_quality_of_segments_and_research_follow_the_truth(toy: Phantom, measured: StudyResult) -> None:
    known = [one for one in measured.segment_quality if one.noise_hu is not None and one.noise_error_hu is not None]
    assert len(measured.segment_quality) == sum(len(vessel.segments) for vessel in measured.tree.vessels)
    assert len(known) >= 4
    for one in known:
        assert one.noise_hu is not None and one.noise_error_hu is not None
        assert abs(one.noise_hu - toy.truth.noise_hu) < 3.0 * one.noise_error_hu
    research = measured.research
    assert research is not None and research.fat is not None and research.pressure is not None
    assert [one.vessel for one in research.fat] == ["LAD", "LCX", "RCA"]
    for fat in research.fat:
        assert fat.attenuation_hu is not None
        # The wall blurs into the fat, which has -90 HU.
        assert -91.0 < fat.attenuation_hu < -80.0
    assert [one.lesion_id for one in research.pressure] == [lesion.id for lesion in measured.lesions]
    worst = max(measured.lesions, key=lambda lesion: lesion.diameter_stenosis_percent)
    ratios = {one.lesion_id: one.pressure_ratio for one in research.pressure if one.pressure_ratio is not None}
    assert ratios[worst.id] == min(ratios.values()) < 0.95


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    return cKDTree(others).query(points)[0]


@pytest.mark.parametrize("which", ["found", "measured"])
def test_the_main_vessels_are_where_they_are(which: str, toy: Phantom, request: pytest.FixtureRequest) -> None:
    study: StudyResult = request.getfixturevalue(which)
    truth = {vessel.name: vessel.points_ras for vessel in toy.truth.vessels}
    for name in ("LM", "LAD", "LCX", "RCA"):
        vessel = study.tree.vessel(name)
        assert np.median(nearest(vessel.points_ras, truth[name])) < 0.5, name
    for name in ("LAD", "RCA"):
        covered = nearest(truth[name], study.tree.vessel(name).points_ras) < 1.0
        assert covered.mean() > 0.75, name


@pytest.mark.parametrize("which", ["found", "measured"])
def test_the_lesions_are_found(which: str, toy: Phantom, request: pytest.FixtureRequest) -> None:
    study: StudyResult = request.getfixturevalue(which)
    for lesion in toy.truth.lesions:
        distance = [np.linalg.norm(np.subtract(one.position_ras, lesion.position_ras)) for one in study.lesions]
        assert distance, f"no lesion at all, {lesion.vessel} was missed"
        match = study.lesions[int(np.argmin(distance))]
        assert min(distance) < 3.0, f"{lesion.vessel} was missed"
        assert match.vessel == lesion.vessel
        if lesion.plaque == "noncalcified":
            assert match.diameter_stenosis_percent == pytest.approx(lesion.diameter_stenosis_percent, abs=10.0)
    worse = [one for one in study.lesions if one.diameter_stenosis_percent >= 50.0]
    assert len(worse) <= sum(lesion.diameter_stenosis_percent >= 50.0 for lesion in toy.truth.lesions)


def test_quality_is_that_of_the_phantom(toy: Phantom, found: StudyResult) -> None:
    quality = found.quality
    assert quality.noise_hu == pytest.approx(toy.truth.noise_hu, rel=0.15)
    assert quality.aorta_hu == pytest.approx(toy.truth.attenuation_hu["aorta"], rel=0.05)
    assert quality.psf_sigma_mm is not None


def test_labels_agree_with_the_true_lumen(toy: Phantom, measured: StudyResult) -> None:
    names = {name: value for value, name in measured.labels.names.items()}
    kji = np.argwhere(measured.labels.labels == names["RCA"])
    points = transform_points(measured.labels.ijk_to_ras, kji[:, ::-1])
    (rca,) = (vessel for vessel in toy.truth.vessels if vessel.name == "RCA")
    assert nearest(points, rca.points_ras).max() < 6.0
    assert {"Aorta", "Calcified plaque"} <= set(names)


def test_a_grid_of_other_directions_gives_the_same_findings(measured: StudyResult) -> None:
    turned = toy_study(directions=DIRECTIONS["sagittal"])
    again = analyze(turned.volume, segmentation=turned.lumen)
    before = {lesion.vessel: lesion.diameter_stenosis_percent for lesion in measured.lesions}
    after = {lesion.vessel: lesion.diameter_stenosis_percent for lesion in again.lesions}
    assert set(after) >= {"LAD"}
    assert after["LAD"] == pytest.approx(before["LAD"], abs=8.0)
    assert again.tree.vessel("RCA").points_ras[:, 0].mean() > again.tree.vessel("LAD").points_ras[:, 0].mean() + 10.0


def without_times(path: Path) -> dict[str, object]:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document.pop("timing_s")
    document.pop("peak_memory_mb", None)
    return document


def test_command_line_end_to_end(toy: Phantom, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = write_dicom(toy.volume, tmp_path)
    lumen = tmp_path / "lumen.nrrd"
    image = itk_image(CTVolume(toy.lumen.labels.astype(np.float32), toy.lumen.ijk_to_ras))
    SimpleITK.WriteImage(SimpleITK.Cast(image, SimpleITK.sitkUInt8), str(lumen))
    reports = []
    for folder in ("first", "second"):
        arguments = [
            "analyze",
            str(source),
            "--output",
            str(tmp_path / folder),
            "--segmentation",
            str(lumen),
            "--device",
            "cpu",
        ]
        assert main(arguments) == 0
        reports.append(Path(capsys.readouterr().out.strip().splitlines()[-1]))
    case = reports[0].parent
    names = {path.relative_to(case).as_posix() for path in case.rglob("*") if path.is_file()}
    assert {
        "report.json", "report.html", "lesions.csv", "vessels.csv", "segments.csv", "patient.csv",
        "segmentation.seg.nrrd", "scene.mrb",
        "centerlines/LAD.mrk.json", "centerlines/RCA.mrk.json",
    } <= names  # fmt: skip
    schema = json.loads((repository / "Resources/schema/report.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(reports[0].read_text(encoding="utf-8")), schema)

    # Two runs give the same bytes, times and memory aside.
    assert without_times(reports[0]) == without_times(reports[1])
    for name in ("lesions.csv", "vessels.csv", "segments.csv", "patient.csv", "centerlines/LAD.mrk.json"):
        assert (case / name).read_bytes() == (reports[1].parent / name).read_bytes()
    first, second = (read_label_map(report.parent / "segmentation.seg.nrrd") for report in reports)
    np.testing.assert_array_equal(first.labels, second.labels)

    for path in case.rglob("*"):
        if path.suffix in (".json", ".html", ".csv"):
            text = path.read_text(encoding="utf-8")
            assert not any(word in text for word in (*PATIENT_WORDS, str(tmp_path))), path.name


def test_our_own_segmentation_can_be_given_back(toy: Phantom, measured: StudyResult) -> None:
    again = analyze(toy.volume, segmentation=measured.labels)
    assert {vessel.name for vessel in again.tree.vessels} == {vessel.name for vessel in measured.tree.vessels}


def test_cancel_stops_the_work_at_the_next_report(toy: Phantom) -> None:
    seen: list[Progress] = []
    progress = CancellableProgress(seen.append)

    def watch(event: Progress) -> None:
        progress(event)
        if event.stage == "lumen":
            progress.cancel()

    with pytest.raises(Cancelled):
        analyze(toy.volume, progress=watch, segmentation=toy.lumen)
    assert seen[-1].stage == "lumen"
    fractions = [event.fraction for event in seen]
    assert fractions == sorted(fractions)


def test_a_scan_without_contrast_is_refused(toy: Phantom) -> None:
    plain = CTVolume(np.minimum(toy.volume.voxels, 60.0).astype(np.float32), toy.volume.ijk_to_ras)
    with pytest.raises(InputError, match="contrast"):
        analyze(plain)


def test_real_cardiac_ct_shows_an_aorta_and_proximal_arteries(real_data: Path) -> None:
    study = analyze(read_volume(real_data / "cardiac_ct_1p5mm" / "ct.nii.gz"))
    names = {vessel.name for vessel in study.tree.vessels}
    assert study.segmentation.aorta.any()
    assert "RCA" in names or "LAD" in names
    assert any("1.5" in warning for warning in study.quality.warnings)


def test_real_neck_ct_has_no_coronary_artery(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    status = main(["analyze", str(real_data / "dicom_neck_cta"), "--output", str(tmp_path), "--quiet"])
    assert status == 3
    report = Path(capsys.readouterr().out.strip())
    document = json.loads(report.read_text(encoding="utf-8"))
    assert document["vessels"] == []
    assert document["patient"]["cad_rads"] is None
    assert "no coronary artery" in document["patient"]["cad_rads_text"]


def test_real_abdominal_ct_is_refused(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "output"
    assert main(["analyze", str(real_data / "dicom_ct_abdomen"), "--output", str(output), "--quiet"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert len(shown.err.strip().splitlines()) == 1
    assert not output.exists()
