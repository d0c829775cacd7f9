"""Training: patches, losses, checkpoints that go on bit for bit, and a network that learns."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from StenosisDetectionLib.errors import Cancelled, InputError
from StenosisDetectionLib.models.inputs import network_input
from StenosisDetectionLib.models.network import DISTANCE_LIMIT_MM, HEADS, NetworkConfiguration
from StenosisDetectionLib.training.cases import CaseInformation, open_case, stored_cases, write_case
from StenosisDetectionLib.training.configuration import COARSE, FINE, configuration_from_json, read_configuration
from StenosisDetectionLib.training.curves import Curves, read_curves
from StenosisDetectionLib.training.losses import training_loss, validation_counts, validation_figures
from StenosisDetectionLib.training.patches import Batch, batches, patch_batch
from StenosisDetectionLib.training.trainer import TrainingRun, learning_rate, train

TINY = dataclasses.replace(
    FINE,
    network=NetworkConfiguration("dynunet", 8, 3, 0.5, FINE.network.windows, HEADS, 2),
    patch=(16, 16, 16),
    batch=2,
    first_patch=(8, 16, 16),
    first_share=0.7,
    iterations=6,
    warm_up_iterations=2,
    validation_patches=4,
    checkpoint_minutes=1000.0,
)


def tube_case(folder, seed=0, shape=(40, 44, 48), heads=HEADS):
    """A straight bright tube of 3 mm along k in fat, beside a darker one, its vein."""
    rng = np.random.default_rng(seed)
    _, j, i = np.indices(shape).astype(float)
    artery = np.hypot(j - rng.uniform(16, 20), i - rng.uniform(16, 20)) * 0.5
    vein = np.hypot(j - 32, i - 32) * 0.5
    lumen, vein = np.clip(2.0 - artery, 0, 1), np.clip(2.0 - vein, 0, 1)
    hu = -90 + 490 * lumen + 250 * vein + rng.normal(0, 15, shape)
    targets = {
        "lumen": lumen,
        "centerline_distance": np.minimum(artery, DISTANCE_LIMIT_MM),
        "ostium": np.exp(-((np.indices(shape)[0] - 4.0) ** 2) / 8) * lumen,
        "vein": vein,
    }
    information = CaseInformation(folder.name, "synthetic", 0.5, 400.0, heads)
    ignore = np.zeros(shape, dtype=bool)
    ignore[:3] = True
    write_case(folder, information, hu, {head: targets[head] for head in heads}, ignore)
    return folder


def test_a_stored_study_comes_back_as_it_was(tmp_path):
    case = open_case(tube_case(tmp_path / "a"))
    assert stored_cases(tmp_path) == ["a"]
    assert case.information == CaseInformation("a", "synthetic", 0.5, 400.0, HEADS)
    assert case.hu.dtype == np.int16
    assert case.hu.max() > 350
    assert set(case.targets) == set(HEADS)
    assert all(target.dtype == np.uint8 for target in case.targets.values())
    # Centers of patches lie on the line, not somewhere in the lumen.
    at = tuple(case.centers["artery"].T)
    assert (case.targets["centerline_distance"][at] <= 255 / 6 + 1).all()
    assert (case.targets["vein"][tuple(case.centers["vein"].T)] > 127).all()


def test_a_study_is_complete_or_absent(tmp_path):
    folder = tube_case(tmp_path / "a")
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "case.json").write_text("{}")
    assert stored_cases(tmp_path) == ["a"]
    (folder / "lumen.npy").unlink()
    with pytest.raises(InputError, match="damaged"):
        open_case(folder)


def test_patches_are_crops_of_the_study_in_place(tmp_path):
    case = open_case(tube_case(tmp_path / "a"))
    batch = patch_batch([case], TINY, 3, augment=False)
    assert batch.image.shape == (2, 2, 16, 16, 16)
    assert batch.targets.shape == batch.weight.shape == (2, 4, 16, 16, 16)
    # Without augmentation image and target are one study: find the place of the patch again by its noise.
    whole = network_input(np.array(case.hu, dtype=np.float32), 400.0, TINY.network)[0].numpy()
    patch = batch.image[0, 0].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(whole, 8, constant_values=0), patch.shape)
    match = np.argwhere((windows[..., 8, 8, 8] == patch[8, 8, 8]) & (windows[..., 9, 7, 8] == patch[9, 7, 8]))
    match = np.array([low for low in match if np.array_equal(windows[tuple(low)], patch)])
    assert len(match) == 1
    low = match[0] - 8
    padded = np.pad(case.targets["lumen"], 8)
    box = tuple(slice(a + 8, a + 24) for a in low)
    np.testing.assert_allclose(batch.targets[0, 0].numpy(), padded[box] / 255, atol=1e-6)


def test_patches_reach_beyond_the_study_without_truth_there_being_made_up(tmp_path):
    case = open_case(tube_case(tmp_path / "a", shape=(10, 44, 48)))
    batch = patch_batch([case], TINY, 0, augment=False)
    outside = batch.image[:, 0] == 0  # air, far below the window
    assert outside.any()
    assert (batch.targets[:, 0][outside] == 0).all()
    assert (batch.targets[:, HEADS.index("centerline_distance")][outside] == 1).all()


def test_voxels_without_truth_do_not_count(tmp_path):
    case = open_case(tube_case(tmp_path / "a"))
    batches_ = [patch_batch([case], TINY, number, augment=False) for number in range(12)]
    assert any((batch.weight == 0).any() for batch in batches_)
    partial = open_case(tube_case(tmp_path / "b", heads=("lumen", "centerline_distance")))
    batch = patch_batch([partial], TINY, 0)
    assert batch.weight[:, 0].sum() > 0
    assert batch.weight[:, 2:].sum() == 0
    output = torch.randn(2, 4, 16, 16, 16)
    terms = training_loss(output, batch, TINY)
    assert float(terms["ostium"]) == float(terms["vein"]) == 0
    output[:, 2:] += 5
    assert float(sum(training_loss(output, batch, TINY).values())) == pytest.approx(float(sum(terms.values())))


def test_a_patch_depends_on_its_number_alone(tmp_path):
    cases = [open_case(tube_case(tmp_path / name, seed)) for seed, name in enumerate("ab")]
    source = batches(cases, TINY, 5)
    ahead = [next(source) for _ in range(3)]
    source.close()
    for number, batch in zip((5, 6, 7), ahead, strict=True):
        again = patch_batch(cases, TINY, number)
        assert torch.equal(batch.image, again.image)
        assert torch.equal(batch.targets, again.targets)
    assert not torch.equal(ahead[0].image, ahead[1].image)


def test_nothing_is_mirrored(tmp_path):
    """In every patch the vein stays on the same side of the artery."""
    case = open_case(tube_case(tmp_path / "a"))
    wide = dataclasses.replace(TINY, patch=(8, 40, 40))
    for number in range(6):
        targets = patch_batch([case], wide, number).targets
        for item in range(2):
            lumen, vein = targets[item, 0], targets[item, HEADS.index("vein")]
            if lumen.sum() > 50 and vein.sum() > 50:
                middle = [torch.nonzero(part > 0.5).float().mean(dim=0) for part in (lumen, vein)]
                assert (middle[1] - middle[0])[1:].min() > 5


def test_synthetic_and_real_studies_share_the_patches(tmp_path):
    synthetic = [open_case(tube_case(tmp_path / f"s{n}")) for n in range(3)]
    real = open_case(tube_case(tmp_path / "r"))
    real = dataclasses.replace(real, information=dataclasses.replace(real.information, source="imagecas"))
    from StenosisDetectionLib.training.patches import _choose

    chosen = [
        _choose([*synthetic, real], TINY, np.random.default_rng(n), n, 0, True).information.source for n in range(400)
    ]
    assert 0.4 < chosen.count("imagecas") / 400 < 0.6


def _batch(lumen, distance=None):
    targets = torch.zeros(1, 4, *lumen.shape)
    targets[0, 0] = lumen
    targets[0, 1] = 1 if distance is None else distance
    return Batch(torch.zeros(1, 2, *lumen.shape), targets, torch.ones_like(targets))


def test_figures_of_hand_computed_cases():
    lumen, distance = torch.zeros(4, 4, 4), torch.ones(4, 4, 4)
    lumen[0, 0, :4] = 1.0
    distance[0, 0, :4] = 0.1
    output = torch.full((1, 4, 4, 4, 4), -9.0)
    output[0, 0, 0, 0, 2:] = 9.0  # half of the lumen
    output[0, 0, 1, 1, :2] = 9.0  # and as much beside it
    output[0, 1] = 9.0
    batch = _batch(lumen, distance)
    counts = {key: float(value) for key, value in validation_counts(output, batch, HEADS).items()}
    figures = validation_figures(counts)
    assert figures["lumen_dice"] == pytest.approx(0.5)
    assert figures["lumen_precision"] == figures["lumen_recall"] == pytest.approx(0.5)
    assert figures["centerline_recall"] == pytest.approx(0.5)
    assert figures["centerline_distance_error_mm"] == pytest.approx(0.9 * DISTANCE_LIMIT_MM, rel=1e-3)
    assert figures["lumen_in_vein"] == 0


def test_the_skeleton_term_weighs_thin_and_thick_branches_alike():
    """Losing a thin branch costs as much recall as losing the same length of a thick one, unlike Dice."""
    _, j, i = torch.meshgrid(*[torch.arange(24.0)] * 3, indexing="ij")
    thin, thick = torch.hypot(j - 6, i - 6) * 0.5, torch.hypot(j - 16, i - 16) * 0.5
    lumen = ((thin < 0.8) | (thick < 2.0)).float()
    batch = _batch(lumen, torch.minimum(thin, thick).clamp(max=3) / 3)
    lost = {}
    for name, where in (("thin", thin < 2.0), ("thick", thick < 3.0)):
        output = torch.full((1, 4, 24, 24, 24), -9.0)
        output[0, 0][(lumen > 0) & ~where] = 9.0
        lost[name] = training_loss(output, batch, TINY)
    assert float(lost["thin"]["skeleton_recall"]) == pytest.approx(float(lost["thick"]["skeleton_recall"]), rel=0.1)
    assert float(lost["thin"]["skeleton_recall"]) == pytest.approx(0.5 * TINY.weight("skeleton_recall"), rel=0.1)
    assert float(lost["thin"]["lumen"]) < 0.6 * float(lost["thick"]["lumen"])


def test_the_loss_is_least_where_the_output_is_right(tmp_path):
    case = open_case(tube_case(tmp_path / "a"))
    batch = patch_batch([case], TINY, 1, augment=False)
    right = torch.logit(batch.targets.clamp(1e-4, 1 - 1e-4))
    best = float(sum(training_loss(right, batch, TINY).values()))
    for other in (right * 0.5, -right, right + 1, torch.zeros_like(right), right.roll(2, dims=-1)):
        assert float(sum(training_loss(other, batch, TINY).values())) > best


def _train(tmp_path, name, configuration, folders, **options):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    report = options.pop("report", lambda fraction, message: None)
    return train(configuration, TrainingRun(folder, **options), lambda: folders, folders[:1], report=report)


def test_a_resumed_training_ends_bit_for_bit_where_an_unbroken_one_ends(tmp_path):
    folders = [tube_case(tmp_path / name, seed) for seed, name in enumerate("ab")]
    whole = _train(tmp_path, "whole", TINY, folders)

    def stop_at_three(_fraction, message):
        if message.startswith("iteration 3"):
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        _train(tmp_path, "broken", TINY, folders, report=stop_at_three)
    assert (tmp_path / "broken" / "checkpoint.safetensors").exists()
    resumed = _train(tmp_path, "broken", TINY, folders, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    rows = [
        [row for row in read_curves(tmp_path / name / "curves.csv") if row["quantity"] == "lumen_dice"]
        for name in ("whole", "broken")
    ]
    assert rows[0] == rows[1] != []


def test_a_small_network_learns_a_tube(tmp_path):
    folders = [tube_case(tmp_path / str(seed), seed) for seed in range(3)]
    configuration = dataclasses.replace(
        TINY, iterations=160, first_patch=None, warm_up_iterations=5, averaging=0.9, learning_rate=8e-3
    )
    _train(tmp_path, "run", configuration, folders)
    rows = read_curves(tmp_path / "run" / "curves.csv")
    last = {row["quantity"]: float(row["value"]) for row in rows if row["set"] == "validation"}
    assert last["lumen_dice"] > 0.8
    assert last["centerline_recall"] > 0.9
    assert last["lumen_in_vein"] < 0.1
    assert json.loads((tmp_path / "run" / "configuration.json").read_text())["iterations"] == 160


def test_training_begins_from_given_weights(tmp_path):
    folders = [tube_case(tmp_path / "a")]
    first = _train(tmp_path, "first", TINY, folders)
    run = TrainingRun(tmp_path / "second")
    run.folder.mkdir()
    still = dataclasses.replace(TINY, learning_rate=1e-12, weight_decay=0.0, iterations=1)
    second = train(still, run, lambda: folders, [], first)
    for (name, value), other in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(value, other, atol=1e-6, rtol=1e-6, msg=name)


def test_without_a_study_or_with_a_foreign_checkpoint_training_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="no study to train on"):
        train(TINY, TrainingRun(tmp_path / "run"), lambda: [], [])
    folders = [tube_case(tmp_path / "a")]
    _train(tmp_path, "run", TINY, folders)
    wider = dataclasses.replace(TINY, network=dataclasses.replace(TINY.network, channels=16))
    with pytest.raises(InputError, match="belongs to another network"):
        _train(tmp_path, "run", wider, folders, resume=True)
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="absent or damaged"):
        _train(tmp_path, "run", TINY, folders, resume=True)


def test_patches_grow_during_a_training():
    early, late = FINE.at(0.1), FINE.at(0.9)
    assert late is FINE
    assert early.patch == FINE.first_patch
    assert early.batch * np.prod(early.patch) <= FINE.batch * np.prod(FINE.patch)
    assert early.batch > FINE.batch
    assert dataclasses.replace(FINE, first_patch=None).at(0.1).patch == FINE.patch


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = [learning_rate(FINE, n, n / 1000) for n in range(1001)]
    assert rates[0] < 0.02 * FINE.learning_rate
    assert max(rates) <= FINE.learning_rate
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert learning_rate(FINE, 500, 0.5) == pytest.approx(FINE.learning_rate / 2, rel=0.01)


def test_curves_of_a_resumed_run_hold_every_iteration_once(tmp_path):
    with Curves(tmp_path, 0) as curves:
        for iteration in (10, 20, 30):
            curves.write("training", iteration, {"lumen": iteration / 100})
    with Curves(tmp_path, 20) as curves:
        curves.write("training", 30, {"lumen": 9.0})
    rows = read_curves(tmp_path / "curves.csv")
    assert [(row["iteration"], row["value"]) for row in rows] == [("10", "0.1"), ("20", "0.2"), ("30", "9")]


@pytest.mark.parametrize("preset", [FINE, COARSE])
def test_a_configuration_survives_its_file(tmp_path, preset):
    path = tmp_path / "configuration.json"
    path.write_text(json.dumps(preset.to_json()))
    assert read_configuration(path, "coarse" if preset is COARSE else "fine") == preset
    assert read_configuration(path) == preset, "a whole file does not depend on what fills it up"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "JSON object"),
        ({"colour": 1}, "unknown fields: colour"),
        ({"patch": [96, 96]}, "three sizes"),
        ({"patch": [90, 96, 96]}, "multiples of 16"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"batch": "two"}, "wrong kind"),
        ({"averaging": 1.0}, "averaging must lie"),
        ({"loss_weights": {"liver": 1}}, "no head of the network: liver"),
        ({"sites": {"artery": 0.9, "vein": 0.2}}, "add up"),
        ({"sites": {"liver": 0.2}}, "shares of artery, vein, ostium"),
    ],
)
def test_a_meaningless_configuration_is_refused(values, words):
    with pytest.raises(InputError, match=words):
        configuration_from_json(values)


def test_a_missing_or_broken_configuration_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.json cannot be opened"):
        read_configuration(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        read_configuration(tmp_path / "broken.json")
