"""Models of other programs: MONAI bundles, nnU-Net folders, TotalSegmentator, TorchScript."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from test_registry import register

from StenosisDetectionLib.errors import ModelError
from StenosisDetectionLib.models import nnunet
from StenosisDetectionLib.models.foreign import read_bundle, read_torchscript
from StenosisDetectionLib.segmentation import get_model, list_models


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Let no test see the cache or the registry of whoever runs it."""
    monkeypatch.setenv("STENOSIS_DETECTION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("STENOSIS_DETECTION_REGISTRY", str(tmp_path / "models.json"))


def bundle(folder: Path, network: dict | None = None, transforms: list | None = None, state=None) -> Path:
    """A tiny MONAI bundle."""
    from monai.networks.nets import UNet

    arguments = {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 1,
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    definition = {"_target_": "UNet", **arguments} if network is None else network
    config = {
        "imports": ["$import os"],
        "device": "$torch.device('cpu')",
        "network_def": definition,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": transforms
            or [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 1.0, 1.0]},
                {"_target_": "ScaleIntensityRanged", "a_min": -200, "a_max": 800, "b_min": 0, "b_max": 1, "clip": True},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 48, 64]},
    }
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "coronary"}}}}}
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.save(UNet(**arguments).state_dict() if state is None else state, folder / "models" / "model.pt")
    return folder


class Payload:
    """What a malicious pickle holds: unpickling it makes a folder."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_monai_bundle_is_read_as_data(tmp_path):
    network = read_bundle(bundle(tmp_path / "bundle"))
    assert (network.axes, network.spacing_mm, network.channel, network.softmax) == ("LPS", 1.0, 1, True)
    assert network.tile == (64, 48, 32)
    assert network.scale == (-200.0, 800.0, 0.0, 1.0)
    output = network.load("cpu")(torch.zeros(1, 1, 16, 16, 16))
    assert output.shape == (1, 2, 16, 16, 16)
    assert get_model(str(tmp_path / "bundle")).kind == "monai_bundle"


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        ({"_target_": "os.system", "command": "true"}, "only these networks of MONAI"),
        ({"_target_": "my.package.UNet", "spatial_dims": 3}, "only these networks of MONAI"),
        ({"_target_": "UNet", "spatial_dims": "$__import__('os').mkdir('PAYLOAD')"}, "is not evaluated"),
        ({"_target_": "UNet", "act": {"_target_": "subprocess.Popen"}}, "builds 'subprocess.Popen'"),
        ({"_target_": "UNet", "spatial_dims": "@device"}, "is not evaluated"),
        ({"_target_": "UNet", "spatial_dims": "@nothing"}, "which is not there"),
        ({"_target_": "UNet", "wrong": 1}, "do not fit its network"),
    ],
)
def test_a_bundle_that_wants_to_compute_is_refused(tmp_path, monkeypatch, network, problem):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=problem):
        read_bundle(bundle(tmp_path / "bundle", network)).load("cpu")
    assert not (tmp_path / "PAYLOAD").exists()


def test_a_bundle_with_unknown_preparation_is_refused(tmp_path):
    folder = bundle(tmp_path / "bundle", transforms=[{"_target_": "mine.Surprise", "keys": "image"}])
    with pytest.raises(ModelError, match="prepares images with Surprise"):
        read_bundle(folder)


def test_a_checkpoint_that_runs_code_is_not_opened(tmp_path):
    payload = tmp_path / "payload"
    folder = bundle(tmp_path / "bundle", state={"weights": Payload(payload)})
    with pytest.raises(ModelError, match="holds more than weights, which could execute code"):
        read_bundle(folder)
    assert not payload.exists()
    pickle.loads(pickle.dumps(Payload(payload)))  # the payload does run where it is let
    assert payload.is_dir()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_told(tmp_path, content):
    folder = bundle(tmp_path / "bundle")
    (folder / "models" / "model.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.pt"):
        read_bundle(folder)


def nnunet_folder(folder: Path, architecture: dict | None = None, extra=None) -> Path:
    """A tiny results folder of nnU-Net v2."""
    (folder / "fold_0").mkdir(parents=True)
    (folder / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "coronary": 1}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"})
    )
    architecture = architecture or {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {"conv_op": "torch.nn.modules.conv.Conv3d"},
        "_kw_requires_import": ["conv_op"],
    }
    (folder / "plans.json").write_text(json.dumps({"configurations": {"3d_fullres": {"architecture": architecture}}}))
    checkpoint = {
        "network_weights": {"a": torch.zeros(2)},
        "init_args": {"configuration": "3d_fullres", "fold": 0},
        "trainer_name": "nnUNetTrainer",
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.5)]},
        "_best_ema": np.float64(0.5),
        **(extra or {}),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def test_an_nnunet_folder_is_checked_without_running_anything(tmp_path):
    folder = nnunet_folder(tmp_path / "nnunet")
    _, _, checkpoint, fold = nnunet.check_folder(folder)
    assert fold == "fold_0"
    assert checkpoint["network_weights"]["a"].shape == (2,)


@pytest.mark.parametrize(
    ("architecture", "problem"),
    [
        ({"network_class_name": "subprocess.Popen", "arch_kwargs": {}}, "'subprocess.Popen' is not one of nnU-Net's"),
        (
            {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {"conv_op": "os.system"},
                "_kw_requires_import": ["conv_op"],
            },
            "'os.system', which is no layer",
        ),
    ],
)
def test_nnunet_plans_that_name_other_classes_are_refused(tmp_path, architecture, problem):
    with pytest.raises(ModelError, match=problem):
        get_model(str(nnunet_folder(tmp_path / "nnunet", architecture)))


def test_an_nnunet_checkpoint_that_runs_code_is_not_opened(tmp_path):
    payload = tmp_path / "payload"
    folder = nnunet_folder(tmp_path / "nnunet", extra={"x": Payload(payload)})
    with pytest.raises(ModelError, match="could execute code"):
        get_model(str(folder))
    assert not payload.exists()


def without_package(monkeypatch, name: str) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda one, *rest: None if one == name else real(one, *rest))


def test_a_missing_nnunet_package_is_told(tmp_path, monkeypatch):
    without_package(monkeypatch, "nnunetv2")
    with pytest.raises(ModelError, match="pip install nnunetv2"):
        get_model(str(nnunet_folder(tmp_path / "nnunet")))


def test_a_missing_totalsegmentator_is_told(monkeypatch):
    without_package(monkeypatch, "totalsegmentator")
    with pytest.raises(ModelError, match="pip install TotalSegmentator"):
        get_model("totalsegmentator")


class Doubling(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 2.0 * image


def test_torchscript_runs_only_where_the_registry_allows_it(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.trace(Doubling(), torch.zeros(1, 1, 4, 4, 4)).save(str(path))
    with pytest.raises(ModelError, match=r"TorchScript, which is code .*\"allow_code\": true"):
        get_model(str(path))
    register(tmp_path, kind="torchscript", files={"weights": {"file": "net.pt"}})
    with pytest.raises(ModelError, match="must be named by its 'sha256'"):
        list_models()
    file = {"file": "net.pt", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    register(tmp_path, kind="torchscript", files={"weights": file})
    with pytest.raises(ModelError, match="TorchScript, which is code"):
        get_model("mine")
    register(tmp_path, kind="torchscript", files={"weights": file}, settings={"allow_code": True})
    assert get_model("mine").kind == "torchscript"
    network = read_torchscript(path, {"allow_code": True, "window_hu": [-100, 700], "tile": 64})
    assert network.tile == (64, 64, 64)
    assert float(network.load("cpu")(torch.ones(1, 1, 2, 2, 2)).max()) == 2.0
