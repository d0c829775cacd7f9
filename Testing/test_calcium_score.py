"""The calcium score against boxes whose score is counted by hand."""

import numpy as np
import pytest

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.stenosis.calcium_score import calcium_score
from StenosisDetectionLib.study import CTVolume

EVERYWHERE = np.ones((6, 20, 20), dtype=bool)


def volume_of(boxes: list[tuple[int, int, float]], thickness: float = 3.0, count: int = 6, **facts) -> CTVolume:
    """Boxes of 4 x 4 voxels of 0.5 mm (4 mm2) at (slice, column) with an attenuation, in tissue of 40 HU."""
    voxels = np.full((count, 20, 20), 40.0, dtype=np.float32)
    for k, i, hu in boxes:
        voxels[k, 2:6, i : i + 4] = hu
    return CTVolume(voxels, np.diag([0.5, 0.5, thickness, 1.0]), acquisition={"kvp": 120.0, **facts})


@pytest.mark.parametrize(
    ("hu", "weight"), [(129, 0), (130, 1), (199, 1), (200, 2), (300, 3), (399, 3), (400, 4), (900, 4)]
)
def test_weight_by_the_highest_attenuation(hu: float, weight: int) -> None:
    score = calcium_score(volume_of([(2, 3, hu)]), EVERYWHERE)
    assert score.agatston == pytest.approx(4.0 * weight)
    assert score.volume_mm3 == pytest.approx(12.0 if weight else 0.0)
    assert score.lesions == (1 if weight else 0)


def test_lesions_add_up_and_those_outside_the_region_do_not_count() -> None:
    volume = volume_of([(1, 2, 250.0), (2, 2, 450.0), (4, 12, 150.0)])
    assert calcium_score(volume, EVERYWHERE).agatston == pytest.approx(4 * 2 + 4 * 4 + 4 * 1)
    assert calcium_score(volume, EVERYWHERE).lesions == 2
    left = EVERYWHERE.copy()
    left[:, :, 10:] = False
    assert calcium_score(volume, left).agatston == pytest.approx(4 * 2 + 4 * 4)


def test_specks_below_a_square_millimeter_are_noise() -> None:
    volume = volume_of([])
    volume.voxels[2, 3, 3:6] = 500.0
    assert calcium_score(volume, EVERYWHERE).agatston == 0.0


def test_thin_slices_are_averaged_and_thickness_counts() -> None:
    thin = volume_of([(k, 3, 450.0) for k in range(6, 12)], thickness=0.5, count=24)
    assert calcium_score(thin, np.ones((24, 20, 20), dtype=bool)).agatston == pytest.approx(4 * 4)
    thick = volume_of([(2, 3, 450.0)], thickness=2.5)
    assert calcium_score(thick, EVERYWHERE).agatston == pytest.approx(4 * 4 * 2.5 / 3)


def test_mass_needs_a_calibration() -> None:
    volume = volume_of([(2, 3, 500.0)])
    assert calcium_score(volume, EVERYWHERE).mass_mg is None
    score = calcium_score(volume, EVERYWHERE, calibration_mg_per_hu_mm3=0.001)
    assert score.mass_mg == pytest.approx(0.001 * 500 * 12.0)


def test_an_angiogram_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="without contrast agent"):
        calcium_score(volume_of([], contrast_agent=True), EVERYWHERE)
    with pytest.raises(InputError, match="blood itself exceeds 130 HU"):
        calcium_score(volume_of([]), EVERYWHERE, blood_hu=350.0)
    with pytest.raises(InputError, match=r"at most 3\.5 mm"):
        calcium_score(volume_of([], thickness=5.0), EVERYWHERE)
    with pytest.raises(InputError, match="grid"):
        calcium_score(volume_of([]), EVERYWHERE[:3])


def test_another_tube_voltage_is_said() -> None:
    assert "100 kV" in calcium_score(volume_of([], kvp=100.0), EVERYWHERE).warnings[0]
