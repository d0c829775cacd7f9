"""The network that reads the lumen beside calcium: what it is fed, what it learns, and the shipped weights."""

import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from test_lumen import SEEN_SIGMA
from test_lumen_calcium import AXIS, LENGTH, POINTS, scene_volume

from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.errors import InputError, ModelError
from StenosisDetectionLib.lumen import VolumeSampler
from StenosisDetectionLib.lumen.learned import SHA256, learned_lumen
from StenosisDetectionLib.lumen.section_network import (
    PIXEL_MM,
    PIXELS,
    build_section_network,
    decoded,
    load_section_network,
    save_section_network,
    section_grid,
    section_input,
)
from StenosisDetectionLib.lumen.sections import sections_of
from StenosisDetectionLib.phantom.render import Painted
from StenosisDetectionLib.phantom.solids import Tube
from StenosisDetectionLib.resources import resource_path
from StenosisDetectionLib.study import Vessel, VesselTree
from StenosisDetectionLib.training import section_stacks, section_training
from StenosisDetectionLib.training.curves import read_curves
from StenosisDetectionLib.training.section_stacks import SectionStack, load_stacks, render_stacks, save_stacks
from StenosisDetectionLib.training.section_training import (
    LENGTH as EXAMPLE,
)
from StenosisDetectionLib.training.section_training import (
    SectionTraining,
    section_loss,
    train_sections,
    training_batch,
    validate_sections,
)

ALONG = (np.arange(PIXELS) - 0.5 * (PIXELS - 1)) * PIXEL_MM


def disc_stack(seed: int, count: int = 40) -> SectionStack:
    """Discs of changing width beside the path, in half of the stack with a bright spot beside them."""
    draw = np.random.default_rng(seed)
    diameter = np.interp(np.arange(count), [0, count / 2, count], draw.uniform(1.0, 4.0, 3))
    offset = np.tile(draw.uniform(-0.8, 0.8, 2), (count, 1))
    x, y = ALONG[None, :, None] - offset[:, 0, None, None], ALONG[None, None, :] - offset[:, 1, None, None]
    inside = 1.0 / (1.0 + np.exp((np.hypot(x, y) - diameter[:, None, None] / 2) / 0.2))
    values = -80.0 + 480.0 * inside
    calcium = np.where(np.arange(count) < count / 2, 0.8, 0.0)
    spot = np.hypot(x - diameter[:, None, None] / 2 - 0.6, y) < 0.5
    values = np.where(spot & (calcium > 0)[:, None, None], 900.0, values)
    values = values + draw.normal(0.0, 15.0, values.shape)
    one = np.ones(count, dtype=np.float32)
    return SectionStack(
        values.astype(np.float16), diameter.astype(np.float32), offset.astype(np.float32), calcium.astype(np.float32),
        400.0 * one, 15.0 * one, 0.45 * one,
    )  # fmt: skip


def test_a_longer_stack_is_read_like_its_parts() -> None:
    network = build_section_network().eval()
    image = torch.randn(1, 4, 60, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, part = (decoded(network(one))[0] for one in (image, image[:, :, 5:]))
    assert whole.shape == (1, 60, 3)
    assert (whole[..., 0] < whole[..., 1]).all() and (whole[..., 1] < whole[..., 2]).all()
    # The reach along the vessel is 32 sections to each side.
    assert torch.allclose(whole[0, 40:], part[0, 35:], atol=1e-4)


def test_turned_mirrored_and_shifted_examples_keep_the_lumen_at_its_place() -> None:
    stack = replace(disc_stack(3), calcium_mm2=np.zeros(40, dtype=np.float32))
    plain = disc_stack(3).values.astype(np.float32)
    plain[plain > 500.0] = -80.0
    image, truth = training_batch([replace(stack, values=plain)], np.random.default_rng(0), 24)
    weight = (image[:, 0] - 0.5).clamp(min=0.0).numpy()
    total = weight.sum((2, 3))
    for axis, column in ((2, 1), (3, 2)):
        place = (weight.sum(5 - axis) * ALONG).sum(2) / total
        assert np.abs(place - truth[..., column].numpy()).max() < 0.15
    assert len(np.unique(truth[..., 1:3].numpy().round(3), axis=0)) > 6


def test_the_loss_is_least_for_the_true_quantiles_and_leaves_unknown_sections_out() -> None:
    draw = torch.Generator().manual_seed(1)
    truth = torch.zeros(64, 50, 4)
    truth[..., 0] = 3.0 + torch.randn(64, 50, generator=draw)
    truth[:, :10, 0] = torch.nan

    def loss(middle: float, reach: float) -> float:
        # Raw values whose quantiles lie at `middle` and `reach` to both sides: the inverse of softplus.
        inverse = torch.log(torch.expm1(torch.tensor([middle, reach])))
        output = torch.zeros(64, 7, 50, 1, 1)
        output[:, 0], output[:, 1:3] = inverse[0] - 1.5, inverse[1] + 1.5
        return float(section_loss(output, truth))

    best = loss(3.0, 1.645)
    assert np.isfinite(best)
    assert all(loss(*other) > best + 1e-3 for other in ((2.6, 1.645), (3.4, 1.645), (3.0, 1.0), (3.0, 2.4)))


def test_weights_come_back_and_damaged_ones_are_refused(tmp_path):
    network = build_section_network()
    path = tmp_path / "one.safetensors"
    sha = save_section_network(path, network, {"interval_factor": 1.5})
    again, metadata = load_section_network(path, sha)
    assert metadata == {"interval_factor": 1.5}
    for name, value in network.state_dict().items():
        assert torch.allclose(again.state_dict()[name].float(), value.float(), atol=2e-3)
    with pytest.raises(ModelError, match="is damaged: install StenosisDetection again"):
        load_section_network(path, "0" * 64)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"one\.safetensors is no complete file of this network"):
        load_section_network(path)


def test_the_shipped_weights_are_small_and_those_that_were_tested() -> None:
    path = resource_path("models", "lumen", "sections.safetensors")
    assert path.stat().st_size < 2**20
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    _, metadata = load_section_network(path, SHA256)
    assert 1.0 <= metadata["interval_factor"] < 4.0
    card = resource_path("models", "lumen", "model_card.md").read_text(encoding="utf-8")
    assert SHA256 in card


def test_the_lumen_beside_calcium_is_read_from_a_path_beside_it() -> None:
    along = np.arange(0.0, LENGTH + 1e-6, 0.25)
    s = along - LENGTH / 2
    true = 3.0 * (1 - 0.55 * np.where(np.abs(s) < 5, 0.5 * (1 + np.cos(2 * np.pi * s / 10)), 0))
    side = np.cross(AXIS, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    inside = np.abs(s) < 3.0
    other = np.cross(AXIS, side)
    scene = [Painted(Tube(POINTS, np.full(len(along), 2.0)), 75.0)]
    for degrees in (-40, 0, 40):
        toward = np.cos(np.radians(degrees)) * side + np.sin(np.radians(degrees)) * other
        place = POINTS[inside] + (true[inside] / 2 + 0.55)[:, None] * toward
        scene.append(Painted(Tube(place, np.full(inside.sum(), 0.5)), 900.0))
    scene.append(Painted(Tube(POINTS, true / 2), 400.0))
    volume = scene_volume(scene, 4)
    path = POINTS + (0.5 * np.exp(-((s / 4.0) ** 2)))[:, None] * side
    sections = sections_of(VesselTree((Vessel("LAD", None, None, path, along, np.full(len(along), 1.5)),)))
    axes = volume.ijk_to_ras[:3, :3] / np.linalg.norm(volume.ijk_to_ras[:3, :3], axis=0)
    covariance = axes @ np.diag(np.square(SEEN_SIGMA)) @ axes.T
    read = learned_lumen(VolumeSampler(volume, "cpu"), sections, np.full(len(s), 400.0), 25.0, covariance)
    near, far = np.abs(s) < 2.0, (np.abs(s) > 6.0) & (np.abs(s) < 11.0)
    low, middle, high = read.quantiles_mm.T
    assert np.abs(middle - true)[far].mean() < 0.25
    assert np.abs(middle - true)[near].mean() < 0.5
    assert ((low < true) & (true < high))[near].mean() > 0.6
    assert read.calcium[near].mean() > 0.6 and read.calcium[far].mean() < 0.2
    # The path strays by 0.5 mm, and the network says where the lumen lies.
    off = [np.linalg.norm(one[near] - POINTS[near], axis=1).mean() for one in (path, read.centers)]
    assert off[1] < 0.7 * off[0]


def test_rendered_stacks_show_the_lumen_where_and_as_wide_as_they_say(tmp_path, monkeypatch):
    monkeypatch.setattr(section_stacks, "DISEASES", 1)
    monkeypatch.setattr(section_stacks, "LOAD", 0.2)
    stacks = render_stacks(40_003)
    assert len(stacks) >= 2
    path = tmp_path / "x.npz"
    save_stacks(path, stacks)
    again = load_stacks(path)
    assert np.array_equal(again[-1].values, stacks[-1].values) and len(again) == len(stacks)
    inside, outside = [], []
    for one in stacks:
        x = ALONG[None, :, None] - one.offset_mm[:, 0, None, None]
        y = ALONG[None, None, :] - one.offset_mm[:, 1, None, None]
        away = np.hypot(x, y) / np.maximum(one.diameter_mm[:, None, None] / 2, 0.01)
        share = (one.values.astype(np.float32) - 80.0) / (one.lumen_hu[:, None, None] - 80.0)
        clear = np.isfinite(one.diameter_mm) & (one.diameter_mm > 2.5) & (one.calcium_mm2 == 0.0)
        inside.append(share[clear][away[clear] < 0.4])
        outside.append(share[clear][(away[clear] > 1.3) & (away[clear] < 1.7)])
    assert np.median(np.concatenate(inside)) == pytest.approx(1.0, abs=0.15)
    assert np.median(np.concatenate(outside)) < 0.4


def test_a_network_learns_discs_and_says_how_well(tmp_path, monkeypatch):
    monkeypatch.setattr(section_training, "training_batch", partial(training_batch, count=3))
    stacks, held_out = [disc_stack(n) for n in range(8)], [disc_stack(n) for n in range(20, 24)]
    true = np.concatenate([one.diameter_mm for one in held_out])
    guessed = float(np.abs(true - np.median(true)).mean())
    path = train_sections(stacks, held_out, SectionTraining(iterations=100), tmp_path)
    network, metadata = load_section_network(path)
    after, factor = validate_sections(network, held_out, "cpu")
    assert after["mae_mm"] < 0.8 * guessed
    assert metadata["interval_factor"] == pytest.approx(max(1.0, factor), abs=0.1)
    assert metadata["validation"]["mae_mm"] == pytest.approx(after["mae_mm"], abs=0.05)
    assert (tmp_path / "curves.csv").exists() and read_curves(tmp_path / "curves.csv") == []


def test_the_command_trains_sections_and_refuses_what_they_do_not_have(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(section_training, "render_stacks", lambda seed: [disc_stack(seed, EXAMPLE)])
    options = ["train", "--network", "sections", "--output", str(tmp_path / "out"), "--quiet"]
    assert main([*options, "--studies", "2", "--iterations", "2"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed.endswith("sections.safetensors")
    assert load_section_network(tmp_path / "out" / "sections.safetensors")[1]["iterations"] == 2
    assert main([*options, "--data", str(tmp_path)]) != 0
    assert "leave --data out" in capsys.readouterr().err
    with pytest.raises(InputError, match="at least two studies"):
        section_training.prepare_stacks(tmp_path / "few", 1)


def test_input_and_grid_are_those_of_a_section() -> None:
    points = section_grid(np.zeros((1, 3)), np.eye(3)[None])
    assert points.shape == (1, PIXELS, PIXELS, 3)
    assert np.allclose(points[0, 3, 7], [0.0, ALONG[3], ALONG[7]])
    image = section_input(np.full((1, PIXELS, PIXELS), 400.0), np.array([400.0]), 25.0, np.array([0.45]))
    assert image.dtype == np.float32 and image[0].max() == pytest.approx(1.0)
