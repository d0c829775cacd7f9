"""The networks: what goes in, what comes out, and their weights on disk."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from StenosisDetectionLib.errors import ModelError
from StenosisDetectionLib.models.inputs import FAT_HU, TYPICAL_AORTA_HU, network_input
from StenosisDetectionLib.models.network import (
    DISTANCE_LIMIT_MM,
    HEADS,
    NetworkConfiguration,
    activate,
    build_network,
)
from StenosisDetectionLib.models.weights import load_weights, read_header, save_weights

WINDOWS = ((-0.5, 1.5), (1.0, 4.0))
SMALL = NetworkConfiguration("segresnet", 8, 3, 0.5, WINDOWS, HEADS)


def _network(configuration=SMALL, seed=0):
    torch.manual_seed(seed)
    return build_network(configuration).eval()


@pytest.mark.parametrize("architecture", ["segresnet", "dynunet"])
@pytest.mark.parametrize("shuffle", [1, 2])
@pytest.mark.parametrize("normalization", ["batch", "instance"])
def test_a_network_puts_out_its_heads_on_the_grid_of_its_input(architecture, shuffle, normalization):
    configuration = dataclasses.replace(
        SMALL, architecture=architecture, shuffle=shuffle, normalization=normalization, heads=HEADS[:3]
    )
    assert configuration.divisor == shuffle * 4
    size = [configuration.divisor * n for n in (2, 3, 4)]
    with torch.no_grad():
        output = _network(configuration)(torch.rand(2, 2, *size))
    assert output.shape == (2, 3, *size)
    assert torch.isfinite(output).all()


def test_the_shuffled_network_keeps_every_voxel_in_its_place():
    """A change of one voxel changes the output around that voxel and, far away, nothing."""
    network = _network(dataclasses.replace(SMALL, levels=1))
    image = torch.rand(1, 2, 48, 48, 48)
    changed = image.clone()
    changed[0, 0, 11, 30, 20] += 1.0
    with torch.no_grad():
        difference = (network(changed) - network(image)).abs().amax(dim=(0, 1))
    where = difference.nonzero()
    assert difference.max() > 0
    assert (where - torch.tensor([11, 30, 20])).abs().amax() <= 10
    assert ((where.float().mean(dim=0) - torch.tensor([11.0, 30.0, 20.0])).abs() < 1.5).all()


def test_activation_gives_probabilities_and_millimeters():
    raw = torch.tensor([-100.0, 0.0, 100.0]).view(1, 1, 3, 1, 1).expand(1, 4, 3, 1, 1)
    values = activate(raw, SMALL)[0, :, :, 0, 0]
    expected = torch.tensor([0.0, 0.5, 1.0])
    for index, head in enumerate(HEADS):
        scale = DISTANCE_LIMIT_MM if head == "centerline_distance" else 1.0
        torch.testing.assert_close(values[index], expected * scale)


def test_input_does_not_depend_on_the_contrast_agent():
    rng = np.random.default_rng(0)
    blood = rng.uniform(-1.0, 5.0, (3, 4, 5))  # 0 is fat, 1 is the blood of the aorta
    channels = [network_input(FAT_HU + blood * (aorta - FAT_HU), aorta, SMALL) for aorta in (250.0, 400.0, 600.0)]
    assert channels[0].shape == (2, 3, 4, 5)
    assert channels[0].dtype == torch.float32
    for other in channels[1:]:
        torch.testing.assert_close(channels[0], other, atol=1e-5, rtol=0)
    expected = np.stack([np.clip((blood + 0.5) / 2.0, 0, 1), np.clip((blood - 1.0) / 3.0, 0, 1)])
    np.testing.assert_allclose(channels[0].numpy(), expected, atol=1e-5)


def test_input_takes_batches_and_an_unknown_or_absurd_aorta():
    hu = torch.full((2, 3, 4, 5), 310.0)
    assert network_input(hu, None, SMALL).shape == (2, 2, 3, 4, 5)
    torch.testing.assert_close(network_input(hu, None, SMALL), network_input(hu, TYPICAL_AORTA_HU, SMALL))
    # A study without contrast: noise must not be blown up to vessels.
    assert network_input(torch.full((1, 1, 1), 60.0), 45.0, SMALL)[0].item() < (1.0 + 0.5) / 2.0
    assert hu.eq(310.0).all(), "the input is not changed in place"


@pytest.mark.parametrize("architecture", ["segresnet", "dynunet"])
@pytest.mark.parametrize("normalization", ["batch", "instance"])
def test_weights_come_back_as_they_were_saved(tmp_path, normalization, architecture):
    configuration = dataclasses.replace(SMALL, normalization=normalization, architecture=architecture)
    network = _network(configuration)
    path = tmp_path / "fine.safetensors"
    metadata = {"name": "test", "figures": {"dice": 0.5}}
    sha256 = save_weights(path, network, configuration, metadata)
    assert [file.name for file in tmp_path.iterdir()] == ["fine.safetensors"]
    loaded = load_weights(path)
    assert loaded.configuration == configuration
    assert loaded.metadata == metadata
    assert loaded.sha256 == sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.network.training
    image = torch.rand(1, 2, 16, 16, 16)
    with torch.no_grad():
        # The file holds half precision: equal to the network rounded to it, and near to the network itself.
        torch.testing.assert_close(loaded.network(image), network(image), atol=2e-2, rtol=1e-2)
        again = load_weights(path).network(image)
    assert torch.equal(loaded.network(image), again)
    size = sum(value.numel() for value in network.parameters())
    assert path.stat().st_size < 2.3 * size + 20000


def test_a_network_in_bfloat16_agrees_with_single_precision(tmp_path):
    path = tmp_path / "fine.safetensors"
    save_weights(path, _network(), SMALL, {})
    image = torch.rand(1, 2, 16, 16, 16)
    exact = load_weights(path).network(image)
    half = load_weights(path, precision="bf16").network(image.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(torch.sigmoid(half.float()), torch.sigmoid(exact), atol=0.03, rtol=0)


def test_unusable_weights_are_refused_in_one_line(tmp_path):
    good = tmp_path / "good.safetensors"
    save_weights(good, _network(), SMALL, {})
    tensors = load_file(good)
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(good.read_bytes()[:-100])
    pickled = tmp_path / "pickled.safetensors"
    torch.save({"a": 1}, pickled)
    foreign = tmp_path / "foreign.safetensors"
    save_file(tensors, foreign)
    header = {"format": "stenosis-detection/network/1", "metadata": "{}"}
    damaged = tmp_path / "damaged.safetensors"
    save_file(tensors, damaged, {**header, "configuration": "{"})
    listed = tmp_path / "listed.safetensors"
    save_file(tensors, listed, {**header, "configuration": "[]"})
    wider = tmp_path / "wider.safetensors"
    save_file(tensors, wider, {**header, "configuration": json.dumps({**SMALL.to_json(), "channels": 16})})
    for path, words in (
        (tmp_path / "absent.safetensors", "do not exist"),
        (truncated, "no complete safetensors"),
        (pickled, "no complete safetensors"),
        (foreign, "no network of this program"),
        (damaged, "damaged"),
        (listed, "damaged"),
        (wider, "do not fit their configuration"),
    ):
        with pytest.raises(ModelError, match=words) as error:
            load_weights(path)
        assert "\n" not in str(error.value)
        assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"architecture": "unet3000"},
        {"normalization": "layer"},
        {"shuffle": 3},
        {"levels": 0},
        {"channels": 0},
        {"spacing_mm": 0.0},
        {"windows": ()},
        {"windows": ((1.0, 1.0),)},
        {"heads": ()},
        {"heads": ("lumen", "liver")},
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(change):
    with pytest.raises(ModelError, match="cannot build a network with"):
        dataclasses.replace(SMALL, **change)


def test_a_configuration_survives_json():
    text = json.dumps(SMALL.to_json())
    assert NetworkConfiguration.from_json(json.loads(text)) == SMALL
    for damaged in ({}, {**SMALL.to_json(), "extra": 1}, {**SMALL.to_json(), "windows": 3}):
        with pytest.raises(ModelError):
            NetworkConfiguration.from_json(damaged)


def test_the_header_is_read_without_the_weights(tmp_path):
    path = tmp_path / "fine.safetensors"
    save_weights(path, _network(), SMALL, {"name": "test"})
    assert read_header(path) == (SMALL, {"name": "test"})
