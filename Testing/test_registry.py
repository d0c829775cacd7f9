"""The registry of models, downloads into the cache folder, and models at a path."""

import hashlib
import http.server
import json
import os
import pickle
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import stand_in_networks
import torch

from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.errors import Cancelled, ModelError
from StenosisDetectionLib.models import cache, nnunet, registry
from StenosisDetectionLib.models.download import download_model, remove_model
from StenosisDetectionLib.models.foreign import read_bundle, read_torchscript
from StenosisDetectionLib.models.network import build_network
from StenosisDetectionLib.models.weights import save_weights
from StenosisDetectionLib.segmentation import get_model, list_models


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Let no test see the cache or the registry of whoever runs it."""
    monkeypatch.setenv("STENOSIS_DETECTION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("STENOSIS_DETECTION_REGISTRY", str(tmp_path / "models.json"))


def register(tmp_path: Path, **row) -> None:
    (tmp_path / "models.json").write_text(json.dumps({"models": [{"name": "mine", **row}]}))


def save_network(path: Path, configuration=stand_in_networks.FINE) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    return save_weights(path, build_network(configuration), configuration, {"version": "3"})


@pytest.fixture
def server(tmp_path):
    """A web server for the folder `web`: gives (folder, address, paths asked for)."""
    folder, asked = tmp_path / "web", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_):
            asked.append(self.path)

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{running.server_port}", asked
    running.shutdown()
    running.server_close()


def test_every_shipped_weight_file_is_there_with_its_checksum_license_and_card():
    for entry in registry.shipped_entries():
        assert entry.license != "unknown"
        assert entry.card is not None
        assert entry.card.is_file()
        for role in entry.files:
            path = registry.weight_path(entry, role)
            assert entry.files[role].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            assert path.stat().st_size <= 16 * 2**20


def test_a_model_of_the_user_is_listed_and_found(tmp_path, capsys):
    sha256 = save_network(tmp_path / "w" / "net.safetensors")
    register(tmp_path, kind="network", version="2", license="MIT", files={"fine": {"file": "w/net.safetensors"}})
    model = get_model("mine")
    assert (model.version, model.weights, model.installed, model.license) == ("2", "net.safetensors", True, "MIT")
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mine"]["kind"] == "network"
    assert rows["vesselness"]["installed"] is True
    assert len(sha256) == 64


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"files": {"fine": {"file": "x"}}}, "'kind' is missing"),
        ({"kind": "keras", "files": {"weights": {"file": "x"}}}, "unknown kind 'keras'"),
        ({"kind": "network", "files": {"weights": {"file": "x"}}}, "needs the file 'fine'"),
        ({"kind": "network", "files": {"fine": {"url": "https://x.org/w"}}}, "needs its SHA-256"),
        ({"kind": "network", "files": {"fine": {"url": "file:///etc/passwd", "sha256": "0" * 64}}}, "must begin with"),
        ({"kind": "network", "name": "../up", "files": {"fine": {"file": "x"}}}, "cannot be the name of a folder"),
        ({"kind": "network", "name": "vesselness2", "files": {"fine": {}}}, "it needs 'file', or 'url'"),
    ],
)
def test_a_registry_that_cannot_be_understood_says_where(tmp_path, row, problem):
    register(tmp_path, **row)
    with pytest.raises(ModelError, match=problem) as error:
        list_models()
    assert "models.json, model 1" in str(error.value)


def test_a_damaged_registry_is_one_line_on_the_command_line(tmp_path, capsys):
    (tmp_path / "models.json").write_text("{")
    assert main(["models"]) == 2
    assert capsys.readouterr().err.startswith("error: models.json is no registry of models")


def test_download_verify_use_and_remove(tmp_path, server, capsys):
    folder, address, _ = server
    sha256 = save_network(folder / "net.safetensors")
    register(tmp_path, kind="network", files={"fine": {"url": f"{address}/net.safetensors", "sha256": sha256}})
    with pytest.raises(ModelError, match="run 'stenosis-detection models download mine'"):
        get_model("mine")
    assert main(["models", "download", "mine"]) == 0
    out = capsys.readouterr().out.strip()
    assert Path(out) == tmp_path / "cache" / "models" / "mine-1"
    assert [p.name for p in Path(out).iterdir()] == ["net.safetensors"]
    assert get_model("mine").installed
    assert main(["models", "cache"]) == 0
    assert "MB)" in capsys.readouterr().out
    assert main(["models", "remove", "mine"]) == 0
    assert not Path(out).exists()
    assert main(["models", "remove", "mine"]) == 2
    assert "nothing of 'mine' was downloaded" in capsys.readouterr().err


def test_what_has_another_checksum_is_thrown_away(tmp_path, server):
    folder, address, _ = server
    (folder / "net.safetensors").write_bytes(b"something else")
    register(tmp_path, kind="network", files={"fine": {"url": f"{address}/net.safetensors", "sha256": "0" * 64}})
    entry = registry.find_entry("mine")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        download_model(entry)
    assert not list(registry.model_folder(entry).iterdir())


def test_a_file_changed_after_the_download_is_refused(tmp_path):
    sha256 = save_network(tmp_path / "net.safetensors")
    register(tmp_path, kind="network", files={"fine": {"file": "net.safetensors", "sha256": sha256}})
    assert get_model("mine")
    with (tmp_path / "net.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match=r"are not those of the registry \(their SHA-256 differs\)"):
        get_model("mine")


def test_offline_the_error_says_what_to_do(tmp_path):
    register(
        tmp_path, kind="network", files={"fine": {"url": "http://127.0.0.1:9/net.safetensors", "sha256": "0" * 64}}
    )
    with pytest.raises(ModelError, match=r"could not be downloaded from 127.0.0.1 .*connect this computer") as error:
        download_model(registry.find_entry("mine"))
    assert "\n" not in str(error.value)


def test_a_missing_file_on_the_server_is_told(tmp_path, server):
    register(tmp_path, kind="network", files={"fine": {"url": f"{server[1]}/no.safetensors", "sha256": "0" * 64}})
    with pytest.raises(ModelError, match=r"does not give out no.safetensors \(HTTP status 404\)"):
        download_model(registry.find_entry("mine"))


def test_a_cancelled_download_leaves_nothing(tmp_path, server):
    folder, address, _ = server
    data = os.urandom(2**20)
    (folder / "big.safetensors").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    register(tmp_path, kind="network", files={"fine": {"url": f"{address}/big.safetensors", "sha256": sha256}})
    entry = registry.find_entry("mine")

    def report(fraction: float, _message: str) -> None:
        if fraction > 0.5:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        download_model(entry, report)
    assert not list(registry.model_folder(entry).iterdir())


def test_an_archive_is_unpacked_inside_its_folder(tmp_path, server):
    folder, address, _ = server
    with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
        archive.writestr("bundle/configs/metadata.json", "{}")
        archive.writestr("bundle/../../escaped.txt", "x")
    sha256 = hashlib.sha256((folder / "bundle.zip").read_bytes()).hexdigest()
    register(tmp_path, kind="monai_bundle", files={"weights": {"url": f"{address}/bundle.zip", "sha256": sha256}})
    entry = registry.find_entry("mine")
    download_model(entry)
    assert (registry.expected_path(entry, "weights") / "configs" / "metadata.json").exists() or (
        registry.expected_path(entry, "weights") / "bundle" / "configs" / "metadata.json"
    ).exists()
    outside = [p for p in tmp_path.rglob("escaped.txt") if registry.model_folder(entry) not in p.parents]
    assert not outside
    remove_model(entry)
    assert not registry.model_folder(entry).exists()


def test_emptying_the_cache(tmp_path, capsys):
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "cache" / "models" / "x").write_bytes(b"123")
    assert cache.cache_size() == 3
    assert main(["models", "cache", "--empty", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == 0
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("arguments", [["download"], ["list", "x"], ["--empty"], ["download", "nothing"]])
def test_a_request_without_meaning_is_refused(arguments, capsys):
    assert main(["models", *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: ")


# --- models at a path ---


def test_a_file_or_folder_of_this_program(tmp_path):
    sha256 = save_network(tmp_path / "net" / "fine.safetensors")
    save_network(tmp_path / "net" / "coarse.safetensors", stand_in_networks.COARSE)
    for path in (tmp_path / "net", tmp_path / "net" / "fine.safetensors"):
        model = get_model(str(path))
        assert (model.name, model.version, model.sha256, model.kind) == (path.name, "3", sha256, "network")


@pytest.mark.parametrize("name", ["notes.txt", "model.onnx", "folder"])
def test_what_is_no_model_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    for file in ("notes.txt", "model.onnx"):
        (tmp_path / file).write_bytes(b"abc")
    with pytest.raises(ModelError, match="no model"):
        get_model(str(tmp_path / name))


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
