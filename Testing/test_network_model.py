"""From a CT volume to trees through networks: coarse and fine pass, selection of trees, and what is reported."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import stand_in_networks
import torch
from scipy import ndimage

from StenosisDetectionLib.errors import Cancelled, ModelError
from StenosisDetectionLib.geometry import transform_points
from StenosisDetectionLib.models import loaded
from StenosisDetectionLib.models.network import build_network
from StenosisDetectionLib.models.weights import save_weights
from StenosisDetectionLib.options import AnalysisOptions
from StenosisDetectionLib.phantom import Phantom, toy_study
from StenosisDetectionLib.progress import no_report
from StenosisDetectionLib.segmentation import execution as executions
from StenosisDetectionLib.segmentation import find_aorta
from StenosisDetectionLib.segmentation.foreign import array_order, turned, turned_back
from StenosisDetectionLib.segmentation.grid import RasGrid
from StenosisDetectionLib.segmentation.network import NetworkFiles, segment_with_networks
from StenosisDetectionLib.segmentation.seeds import ostium_candidates
from StenosisDetectionLib.segmentation.selection import select_trees
from StenosisDetectionLib.study import CTVolume, LumenSegmentation, ModelInfo

FILES = NetworkFiles(Path("fine.safetensors"), Path("coarse.safetensors"))
MODEL = ModelInfo("rule", "1", "0" * 64)
OPTIONS = AnalysisOptions()
RIGHT_SIDE = AnalysisOptions(roi=(0.0, 60.0, -60.0, 60.0, -70.0, 40.0))


@pytest.fixture(scope="module")
def toy() -> Phantom:
    return toy_study(spacing_mm=(0.8, 0.8, 0.8))


@pytest.fixture(scope="module")
def aorta(toy):
    return find_aorta(toy.volume)


def run(volume, aorta, options=OPTIONS, report=no_report, files=FILES) -> LumenSegmentation:
    return segment_with_networks(files, MODEL, volume, aorta, options, "cpu", report)


@pytest.fixture(scope="module")
def found(toy, aorta) -> LumenSegmentation:
    with pytest.MonkeyPatch.context() as monkeypatch:
        stand_in_networks.install(monkeypatch)
        return run(toy.volume, aorta)


def inside(segmentation: LumenSegmentation, mask: np.ndarray, points_ras: np.ndarray) -> np.ndarray:
    """Whether the voxel at each point, or one beside it, is in the mask."""
    from scipy.ndimage import binary_dilation

    kji = np.rint(transform_points(np.linalg.inv(segmentation.ijk_to_ras), points_ras))[:, ::-1].astype(int)
    valid = ((kji >= 0) & (kji < mask.shape)).all(axis=1)
    result = np.zeros(len(points_ras), dtype=bool)
    result[valid] = binary_dilation(mask)[tuple(kji[valid].T)]
    return result


def test_the_arteries_are_found_where_they_are(toy, found):
    for vessel in toy.truth.vessels:
        assert inside(found, found.lumen, vessel.points_ras).mean() > 0.85, vessel.name
    assert found.flags == ()
    assert (found.device, found.precision, found.model) == ("cpu", "fp32", MODEL)


def test_everything_lies_on_one_grid_without_the_aorta(found):
    shape = found.lumen.shape
    for array in (found.aorta, found.probability, found.centerline_distance_mm, found.bridged):
        assert array.shape == shape
    assert not (found.lumen & found.aorta).any()
    assert found.aorta.any()
    assert 0.0 <= float(found.probability.min()) <= float(found.probability.max()) <= 1.0
    assert 0.0 <= float(found.centerline_distance_mm.min()) <= float(found.centerline_distance_mm.max()) <= 3.0
    assert not (found.bridged & ~found.lumen).any()


def test_the_region_limits_the_search(toy, aorta, monkeypatch):
    stand_in_networks.install(monkeypatch)
    result = run(toy.volume, aorta, RIGHT_SIDE)
    where = np.argwhere(result.lumen)[:, ::-1]
    assert len(where)
    assert transform_points(result.ijk_to_ras, where)[:, 0].min() > -1.0
    outside = run(toy.volume, aorta, AnalysisOptions(roi=(500.0, 600.0, 0.0, 10.0, 0.0, 10.0)))
    assert not outside.lumen.any()
    assert "no_coronary_artery" in outside.flags


def test_without_contrast_the_lumen_is_empty_and_flagged(toy, monkeypatch):
    stand_in_networks.install(monkeypatch)
    plain = CTVolume(np.minimum(toy.volume.voxels, 60.0), toy.volume.ijk_to_ras)
    result = run(plain, find_aorta(plain))
    assert not result.lumen.any()
    assert "no_contrast" in result.flags


def test_a_network_that_sees_lumen_everywhere_is_not_believed(toy, aorta, monkeypatch):
    def everywhere(image: torch.Tensor) -> torch.Tensor:
        output = torch.full((len(image), 4, *image.shape[2:]), 5.0)
        output[:, :, ::4] = -5.0  # in sheets, which are not thick
        output[:, 2:] = -5.0  # neither ostium nor vein
        return output

    stand_in_networks.install(monkeypatch, fine=everywhere)
    result = run(toy.volume, aorta, RIGHT_SIDE)
    assert not result.lumen.any()
    assert "lumen_too_large" in result.flags


@pytest.mark.parametrize("sure_of_arteries", [False, True])
def test_a_vein_by_the_vein_head_is_no_artery_unless_the_network_is_as_sure_of_one(
    toy, aorta, monkeypatch, sure_of_arteries
):
    rule = stand_in_networks.rule(stand_in_networks.FINE)

    def veins(image: torch.Tensor) -> torch.Tensor:
        output = rule(image)
        if not sure_of_arteries:
            output[:, 0] = output[:, 0].clamp(max=0.2)  # a chance of 0.55
        output[:, 3] = 10.0
        return output

    stand_in_networks.install(monkeypatch, fine=veins)
    result = run(toy.volume, aorta, RIGHT_SIDE)
    assert ("no_coronary_artery" in result.flags) is not sure_of_arteries


def test_what_gave_way_to_memory_is_reported(toy, aorta, monkeypatch):
    rule = stand_in_networks.rule(stand_in_networks.FINE)

    def tight(image: torch.Tensor) -> torch.Tensor:
        if image.dtype == torch.float32:
            raise torch.OutOfMemoryError("out of memory")
        return rule(image)

    stand_in_networks.install(monkeypatch, fine=tight)
    monkeypatch.setattr(executions, "cpu_emulates_bf16", lambda: False)
    result = run(toy.volume, aorta, RIGHT_SIDE)
    assert result.lumen.any()
    assert result.precision == "bf16"
    assert result.warnings == ("memory ran out on cpu: went on with half precision (bf16)",)


def test_cancel_stops_between_tiles(toy, aorta, monkeypatch):
    stand_in_networks.install(monkeypatch)
    stopped = []

    def report(fraction: float, message: str) -> None:
        if message == "outlining the arteries" and fraction > 0.2:
            stopped.append(time.perf_counter())
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        run(toy.volume, aorta, RIGHT_SIDE, report)
    assert len(stopped) == 1


# --- selection ---

SPACING = 0.5


def tube(shape, points_mm, radius_mm: float) -> np.ndarray:
    """A bent tube through points (k, j, i) in mm."""
    k, j, i = np.meshgrid(*[np.arange(n) * SPACING for n in shape], indexing="ij")
    grid = np.stack([k, j, i], axis=-1)
    result = np.zeros(shape, dtype=bool)
    for a, b in pairwise(points_mm):
        a, b = np.array(a, float), np.array(b, float)
        t = np.clip(((grid - a) @ (b - a)) / ((b - a) @ (b - a)), 0.0, 1.0)
        result |= np.linalg.norm(grid - (a + t[..., None] * (b - a)), axis=-1) <= radius_mm
    return result


def select(lumen: np.ndarray, aorta: np.ndarray, vein=None, intensity=None):
    from StenosisDetectionLib.segmentation.seeds import shell

    fraction = lumen.astype(np.float16)
    intensity = lumen.astype(np.float32) if intensity is None else intensity
    return select_trees(fraction, intensity, aorta, shell(aorta, SPACING), vein, 0.4, SPACING, no_report)


SHAPE = (60, 60, 160)
AORTA = tube(SHAPE, [(0.0, 15.0, 6.0), (30.0, 15.0, 6.0)], 5.0)
START = (15.0, 15.0, 12.0)


def test_two_trees_stay_whatever_their_size_and_what_has_no_ostium_goes():
    large = tube(SHAPE, [START, (15.0, 15.0, 75.0)], 1.5)
    small = tube(SHAPE, [(5.0, 15.0, 12.0), (5.0, 15.0, 30.0)], 1.0)
    stray = tube(SHAPE, [(25.0, 4.0, 30.0), (25.0, 4.0, 78.0)], 3.0)
    result = select(large | small | stray, AORTA)
    assert result.lumen[large & ~AORTA].mean() > 0.95
    assert result.lumen[small & ~AORTA].mean() > 0.95
    assert not result.lumen[stray].any()
    assert not result.bridged.any()


def test_a_chamber_taken_for_lumen_does_not_swallow_the_artery_on_it():
    artery = tube(SHAPE, [START, (15.0, 15.0, 75.0)], 1.5)
    chamber = tube(SHAPE, [(15.0, 22.0, 40.0), (15.0, 22.0, 60.0)], 6.5)
    result = select(artery | chamber, AORTA)
    assert result.lumen[artery & ~AORTA & ~chamber].mean() > 0.9
    assert result.lumen[chamber & ~artery].mean() < 0.3


def test_a_gap_is_bridged_and_marked():
    near = tube(SHAPE, [START, (15.0, 15.0, 40.0)], 1.5)
    far = tube(SHAPE, [(15.0, 15.0, 44.5), (15.0, 15.0, 75.0)], 1.5)
    result = select(near | far, AORTA)
    assert result.lumen[far].mean() > 0.95
    assert result.bridged.any()
    assert not (result.bridged & (near | far)).any()
    along = np.argwhere(result.bridged)[:, 2] * SPACING
    assert along.min() > 39.0
    assert along.max() < 45.0


def test_a_vessel_that_the_network_misses_is_followed_through_its_blood():
    near = tube(SHAPE, [START, (15.0, 15.0, 30.0)], 1.5)
    missed = tube(SHAPE, [(15.0, 15.0, 28.0), (15.0, 21.0, 34.0), (15.0, 15.0, 40.0), (15.0, 15.0, 44.0)], 2.0)
    far = tube(SHAPE, [(15.0, 15.0, 43.0), (15.0, 15.0, 75.0)], 1.5)
    blood = (near | missed | far).astype(np.float32)
    result = select(near | far, AORTA, intensity=blood)
    assert result.lumen[far].mean() > 0.95
    assert result.lumen[missed].mean() > 0.7  # the way takes the inside of the bends
    assert not (result.lumen & ~ndimage.binary_dilation(blood > 0)).any()
    assert not result.bridged.any()  # what is filled with blood is no gap


def test_an_artery_whose_beginning_the_network_misses_is_led_back_to_the_aorta():
    left_main = tube(SHAPE, [(15.0, 15.0, 8.0), (15.0, 15.0, 26.0)], 2.2)
    rest = tube(SHAPE, [(15.0, 15.0, 25.0), (15.0, 15.0, 75.0)], 1.5)
    result = select(rest, AORTA, intensity=(AORTA | left_main | rest).astype(np.float32))
    assert result.lumen[rest].mean() > 0.95
    assert result.lumen[left_main & ~AORTA].mean() > 0.8


def test_no_way_leads_through_a_chamber_or_a_vein():
    rest = tube(SHAPE, [(15.0, 15.0, 30.0), (15.0, 15.0, 75.0)], 1.5)
    chamber = tube(SHAPE, [(15.0, 15.0, 17.0), (15.0, 15.0, 24.0)], 6.0)
    assert not select(rest, AORTA, intensity=(AORTA | chamber | rest).astype(np.float32)).lumen.any()
    between = tube(SHAPE, [(15.0, 15.0, 8.0), (15.0, 15.0, 31.0)], 1.5)
    vein = np.where(between & ~rest, 0.9, 0.0)
    blood = (AORTA | rest).astype(np.float32)
    blood[between & ~rest] = 0.8
    assert not select(rest, AORTA, vein=vein, intensity=blood).lumen.any()
    assert select(rest, AORTA, vein=0.0 * vein, intensity=blood).lumen[rest].mean() > 0.95


def test_what_is_as_bright_as_the_aorta_is_no_vein_whatever_the_network_believes():
    near = tube(SHAPE, [START, (15.0, 15.0, 30.0)], 1.5)
    missed = tube(SHAPE, [(15.0, 15.0, 30.0), (15.0, 15.0, 62.0)], 1.6)
    far = tube(SHAPE, [(15.0, 15.0, 62.0), (15.0, 15.0, 78.0)], 1.5)
    vein = np.where(missed | far, 0.95, 0.0)
    bright = (near | missed | far).astype(np.float32)
    result = select(near | far, AORTA, vein=vein, intensity=bright)
    assert result.lumen[far].mean() > 0.95
    assert result.lumen[missed].mean() > 0.8
    dark = np.where(near, 1.0, 0.75 * bright).astype(np.float32)
    assert result.lumen[far].any() and not select(near | far, AORTA, vein=vein, intensity=dark).lumen[far].any()


def test_across_a_gap_of_fat_that_is_too_long_nothing_is_bridged():
    near = tube(SHAPE, [START, (15.0, 15.0, 35.0)], 1.5)
    far = tube(SHAPE, [(15.0, 15.0, 56.0), (15.0, 15.0, 75.0)], 1.5)
    assert not select(near | far, AORTA).lumen[far].any()


def test_a_dark_vessel_is_a_vein():
    artery = tube(SHAPE, [START, (15.0, 15.0, 75.0)], 1.5)
    vein = tube(SHAPE, [(5.0, 15.0, 12.0), (5.0, 15.0, 75.0)], 2.0)
    intensity = np.where(vein, 0.5, artery).astype(np.float32)
    result = select(artery | vein, AORTA, intensity=intensity)
    assert result.lumen[artery & ~AORTA].mean() > 0.95
    assert not result.lumen[vein].any()


def test_ostia_are_the_peaks_of_the_heat_map():
    grid = RasGrid(np.zeros((40, 40, 40), dtype=np.float32), 0.5, np.array([10.0, -5.0, 2.0]))
    k, j, i = np.meshgrid(*[np.arange(40)] * 3, indexing="ij")
    heat = np.zeros((40, 40, 40))
    for (a, b, c), height in (((10, 10, 10), 0.9), ((10, 10, 14), 0.6), ((30, 30, 30), 0.7), ((30, 5, 5), 0.2)):
        heat = np.maximum(heat, height * np.exp(-((k - a) ** 2 + (j - b) ** 2 + (i - c) ** 2) / 18.0))
    aorta = np.zeros(heat.shape, dtype=bool)
    points, scores = ostium_candidates(heat.astype(np.float16), aorta, grid)
    np.testing.assert_allclose(scores, [0.9, 0.7], atol=1e-3)
    np.testing.assert_allclose(points, [[15.0, 0.0, 7.0], [25.0, 10.0, 17.0]], atol=1e-6)
    aorta[30, 30, 20] = True  # 5 mm from the second
    points, scores = ostium_candidates(heat.astype(np.float16), aorta, grid)
    np.testing.assert_allclose(scores, [0.7], atol=1e-3)
    aorta[30, 30, 20] = False
    aorta[0, 39, 39] = True
    assert len(ostium_candidates(heat.astype(np.float16), aorta, grid)[0]) == 0


# --- precision and the cache of networks ---


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("STENOSIS_DETECTION_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    path = tmp_path / "net.safetensors"
    save_weights(path, build_network(stand_in_networks.FINE), stand_in_networks.FINE, {})
    loaded.release_models()
    return path


def test_a_network_stays_loaded_until_it_is_released(weights):
    first = loaded.loaded_network(weights, "cpu", "fp32")
    assert loaded.loaded_network(weights, "cpu", "fp32") is first
    half = loaded.loaded_network(weights, "cpu", "bf16")
    assert next(half.network.parameters()).dtype == torch.bfloat16
    loaded.release_models()
    assert loaded.loaded_network(weights, "cpu", "bf16") is not half
    with pytest.raises(ModelError, match=r"gone\.safetensors do not exist"):
        loaded.loaded_network(weights.with_name("gone.safetensors"), "cpu", "fp32")


def test_half_precision_of_this_cpu_agrees_with_fp32(weights):
    exact, _ = loaded._run_probe(loaded.loaded_network(weights, "cpu", "fp32"))
    fast, _ = loaded._run_probe(loaded.loaded_network(weights, "cpu", "bf16"))
    assert loaded.agree(exact, fast) or np.abs(exact - fast).mean() < 0.02  # random weights decide nothing


def test_agreement_refuses_what_differs():
    exact = np.linspace(0.0, 1.0, 1000)
    assert loaded.agree(exact, exact + 1e-4)
    assert not loaded.agree(exact, exact + 0.01)
    assert not loaded.agree(np.full(1000, 0.499), np.full(1000, 0.501))
    assert not loaded.agree(exact, np.where(exact > 0.9, np.nan, exact))


@pytest.mark.parametrize(
    ("fast_seconds", "difference", "expected"), [(0.5, 0.0, "bf16"), (0.99, 0.0, "fp32"), (0.5, 0.2, "fp32")]
)
def test_the_precision_is_chosen_once_and_kept(weights, monkeypatch, fast_seconds, difference, expected):
    runs = []

    def probe(network):
        runs.append(network.precision)
        half = network.precision == "bf16"
        return np.linspace(0.0, 1.0, 100) + difference * half, fast_seconds if half else 1.0

    monkeypatch.setattr(loaded, "_run_probe", probe)
    assert loaded.choose_precision(weights, "cpu", "auto", "bf16") == expected
    assert runs == ["fp32", "bf16"]
    assert loaded.choose_precision(weights, "cpu", "auto", "bf16") == expected
    assert len(runs) == 2
    assert loaded.choose_precision(weights, "cpu", "fp32", "bf16") == "fp32"
    assert loaded.choose_precision(weights, "cpu", "auto", None) == "fp32"


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SRA", "PIL"])
def test_arrays_turn_to_the_axes_of_a_network_and_back(axes):
    image = torch.arange(24.0).reshape(1, 1, 2, 3, 4)  # k, j, i
    order, flips = array_order(axes)
    there = turned(image, order, flips)
    assert torch.equal(turned_back(there, order, flips), image)
    if axes == "LPS":
        assert there.shape == (1, 1, 4, 3, 2)
        assert there[0, 0, 0, 0, 0] == image[0, 0, 0, 2, 3]
