"""The registry of models, the devices and the command that lists the models."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest

from StenosisDetectionLib.cli import models as command
from StenosisDetectionLib.devices import available_devices, device_description, resolve_device
from StenosisDetectionLib.errors import InputError, ModelError
from StenosisDetectionLib.options import AnalysisOptions
from StenosisDetectionLib.segmentation import Aorta, get_model, list_models, models, segment
from StenosisDetectionLib.study import CTVolume, LumenSegmentation, ModelInfo


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="stenosis-detection")
    command.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["models", *arguments])
    return parsed.run(parsed)


def test_the_default_model_is_the_first_and_ready():
    model = get_model(AnalysisOptions().model)
    assert model.name == list_models()[0].name
    assert model.installed


def test_vesselness_needs_no_weights():
    model = get_model("vesselness")
    assert (model.name, model.weights, model.sha256) == ("vesselness", None, None)


def test_an_unknown_model_is_refused_with_the_known_names():
    with pytest.raises(ModelError, match=r"unknown segmentation model 'unet3000': choose one of .*vesselness"):
        get_model("unet3000")


def test_the_command_prints_a_table(capsys):
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "version", "weights", "installed", "description"]
    assert len(lines) == 1 + len(list_models())
    (line,) = (line for line in lines if line.startswith("vesselness"))
    assert line.split()[:4] == ["vesselness", get_model("vesselness").version, "none", "yes"]


def test_the_command_prints_json(capsys):
    assert run("--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [model.name for model in list_models()]
    (row,) = (row for row in rows if row["name"] == "vesselness")
    assert row["weights"] is None


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as end:
        run("--help")
    assert end.value.code == 0
    assert "Example: stenosis-detection models" in capsys.readouterr().out


def test_cpu_is_always_there():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device(" CPU ") == "cpu"
    assert available_devices()[-1] == "cpu"
    assert device_description("cpu").startswith("cpu (")


def test_auto_takes_the_first_device():
    assert resolve_device("auto") == available_devices()[0]


@pytest.mark.parametrize("name", ["cuda:97", "tpu", "cuda:x", ""])
def test_a_device_that_is_not_there_is_refused_in_one_line(name):
    with pytest.raises(InputError, match=r"choose auto or one of .*cpu") as error:
        resolve_device(name)
    assert "\n" not in str(error.value)


def test_cuda_resolves_to_its_first_device_or_is_refused():
    if "cuda:0" in available_devices():
        assert resolve_device("cuda") == "cuda:0"
    else:
        with pytest.raises(InputError, match="device 'cuda' is not available here"):
            resolve_device("cuda")


@pytest.mark.parametrize(("spacing", "name"), [(0.5, "coronary"), (1.5, "vesselness")])
def test_vesselness_stands_in_only_in_coarse_voxels_and_the_progress_never_falls(monkeypatch, spacing, name):
    grid = np.diag([spacing, spacing, spacing, 1.0])
    nothing = np.zeros((4, 4, 4), dtype=bool)

    def finder(model, lumen):
        def run(volume, aorta, options, device, report):
            report(0.0, "begins")
            report(1.0, "ends")
            return LumenSegmentation(lumen, nothing, grid, ModelInfo(model, "1"))

        return run

    blind = replace(get_model("vesselness"), name="coronary", segment=finder("coronary", nothing))
    monkeypatch.setattr(models, "get_model", lambda name: blind)
    monkeypatch.setattr(models.vesselness, "segment_vesselness", finder("vesselness", ~nothing))
    volume = CTVolume(np.zeros((4, 4, 4), np.float32), grid)
    aorta = Aorta(True, nothing, grid, np.zeros((2, 3)), np.zeros((2, 3)), np.ones(2), 400.0, 20.0)
    told = []
    result = segment(volume, aorta, AnalysisOptions(), "cpu", lambda fraction, message: told.append(fraction))
    assert result.model.name == name
    assert any("was used instead" in warning for warning in result.warnings) == (name == "vesselness")
    assert told == sorted(told) and told[0] == 0.0 and told[-1] == 1.0
