"""The registry of models, downloads into the cache folder, and models at a path."""

import hashlib
import http.server
import json
import os
import threading
import zipfile
from pathlib import Path

import pytest
import stand_in_networks

from StenosisDetectionLib.cli.main import main
from StenosisDetectionLib.errors import Cancelled, ModelError
from StenosisDetectionLib.models import cache, registry
from StenosisDetectionLib.models.download import download_model, remove_model
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
