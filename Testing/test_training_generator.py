"""Training studies from the generator, and how a training gets its studies."""

import dataclasses

import numpy as np
import pytest

from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.phantom.heart import plan_heart
from StenosisDetectionLib.training import sources
from StenosisDetectionLib.training.cases import open_case, stored_cases
from StenosisDetectionLib.training.configuration import COARSE, FINE
from StenosisDetectionLib.training.generator import (
    FIRST_VALIDATION_SEED,
    _toward_ras,
    render_study,
    study_name,
    study_seeds,
)

ROUGH = dataclasses.replace(COARSE, network=dataclasses.replace(COARSE.network, spacing_mm=4.0))


def test_a_coarse_study_shows_what_its_targets_say_and_where(tmp_path):
    case = open_case(render_study(tmp_path, ROUGH, 7))
    information = case.information
    assert information.source == "synthetic"
    assert set(information.heads) == set(ROUGH.network.heads)
    aorta, heart, zone = (np.array(case.targets[head]) > 127 for head in ("aorta", "heart", "coronary_zone"))
    assert np.median(case.hu[aorta]) == pytest.approx(information.aorta_hu, rel=0.15)
    assert (zone & heart).sum() > 0.5 * zone.sum()
    # Axes grow toward R, A, S: the sternum lies in front of the spine, the ascending aorta above the heart.
    middle = np.argwhere(heart).mean(axis=0)
    assert np.argwhere(aorta)[:, 0].max() > middle[0]
    # The apex points to the left, where most of the heart beside the aortic root lies.
    assert middle[2] < np.argwhere(aorta)[:, 2].mean() + 3


def test_arrays_are_turned_toward_ras():
    array = np.arange(24).reshape(2, 3, 4)
    matrix = np.diag([-0.5, -0.5, 0.5, 1.0])
    matrix[0, 1] = 0.05  # a tilt does not matter
    np.testing.assert_array_equal(_toward_ras(array, matrix), array[:, ::-1, ::-1])
    np.testing.assert_array_equal(_toward_ras(array, np.eye(4)), array)


def test_training_and_validation_hearts_are_different_ones():
    training, validation = study_seeds(FINE, False), study_seeds(FINE, True)
    assert len(training) == FINE.studies
    assert set(training) & set(validation) == set()
    assert validation[0] == FIRST_VALIDATION_SEED
    other = study_seeds(dataclasses.replace(FINE, seed=1), False)
    assert set(training) & set(other) == set()


def test_only_training_families_are_drawn():
    from StenosisDetectionLib.phantom.heart import HELD_OUT_FAMILIES

    assert {plan_heart(seed, "training").family for seed in range(3)} & set(HELD_OUT_FAMILIES) == set()


def test_studies_of_the_store_are_used_again_and_validation_ones_kept_apart(tmp_path, monkeypatch):
    rendered = []

    def stand_in(store, configuration, seed):
        rendered.append(seed)
        (store / study_name(seed)).mkdir(parents=True)
        (store / study_name(seed) / "case.json").write_text("{}")

    few = dataclasses.replace(FINE, studies=2, validation_studies=2)
    for seed in study_seeds(few, False):
        stand_in(tmp_path, few, seed)
    monkeypatch.setattr("StenosisDetectionLib.training.generator.render_study", stand_in)
    with sources.training_sources(tmp_path, [], few) as found:
        training = {folder.name for folder in found.find_training()}
        validation = {folder.name for folder in found.validation}
    assert training == {study_name(seed) for seed in study_seeds(few, False)}
    assert validation == {study_name(seed) for seed in study_seeds(few, True)}
    count = len(rendered)
    with sources.training_sources(tmp_path, [], few):
        pass
    assert len(rendered) == count
    assert len(stored_cases(tmp_path)) == 4


def test_nothing_to_train_on_is_refused(tmp_path):
    with (
        pytest.raises(InputError, match="nothing to train on"),
        sources.training_sources(tmp_path, [], dataclasses.replace(FINE, studies=0)),
    ):
        pass
