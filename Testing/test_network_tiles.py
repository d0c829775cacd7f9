"""Tiles over a zone, their blending, and what gives way when memory runs out."""

import numpy as np
import pytest
import torch

from StenosisDetectionLib import devices
from StenosisDetectionLib.errors import Cancelled, ModelError
from StenosisDetectionLib.progress import no_report
from StenosisDetectionLib.segmentation import execution as executions
from StenosisDetectionLib.segmentation.execution import Execution, out_of_memory, smaller
from StenosisDetectionLib.segmentation.inference import predict_tiles
from StenosisDetectionLib.segmentation.tiles import Box, blending_weights, cover, size_of


def shell_zone(size: int = 40) -> np.ndarray:
    k, j, i = np.meshgrid(*[np.arange(size) - size / 2] * 3, indexing="ij")
    radius = np.sqrt(k**2 + j**2 + i**2)
    return (radius > 0.3 * size) & (radius < 0.4 * size) & (k < 0.2 * size)


SHAPE = (160, 160, 160)


def core_of(box: Box, margin: int) -> Box:
    """Return the part of a box that holds the zone: at the border of the array it goes to the border."""
    k, j, i = (
        slice(s.start if s.start == 0 else s.start + margin, s.stop if s.stop == n else s.stop - margin)
        for s, n in zip(box, SHAPE, strict=True)
    )
    return k, j, i


@pytest.mark.parametrize(("unit", "margin"), [(0, 8), (16, 8), (16, 4)])
def test_every_voxel_of_the_zone_lies_in_the_core_of_a_box(unit, margin):
    zone, block, largest = shell_zone(), 4, (48, 64, 48)
    boxes = cover(zone, block, largest, (margin,) * 3, unit, (32, 32, 32))
    inside = np.zeros(SHAPE, dtype=bool)
    for box in boxes:
        assert all(side.start >= 0 and side.stop <= n for side, n in zip(box, SHAPE, strict=True))
        assert all(size <= most for size, most in zip(size_of(box), largest, strict=True))
        assert all(size % 16 == 0 and size >= 32 for size in size_of(box))
        assert all(side.start % block == 0 for side in box)
        inside[core_of(box, margin)] = True
    voxels = zone.repeat(block, 0).repeat(block, 1).repeat(block, 2)
    assert inside[voxels].all()
    volumes = [np.prod(size_of(box)) for box in boxes]
    assert volumes == sorted(volumes, reverse=True)


def test_boxes_fitted_to_the_zone_hold_less_than_equal_ones_and_much_less_than_a_lattice():
    zone, block, largest, margin = shell_zone(), 4, (64, 64, 64), (8, 8, 8)
    equal, fitted = (
        sum(np.prod(size_of(box)) for box in cover(zone, block, largest, margin, unit, (32, 32, 32)))
        for unit in (0, 16)
    )
    lattice = np.prod([(np.ceil((n - t) / (t - 16)) + 1) * t for n, t in zip(SHAPE, largest, strict=True)])
    assert fitted < 0.85 * equal
    assert fitted < 0.6 * lattice


def test_an_empty_zone_needs_no_tile_and_a_tile_larger_than_the_array_is_refused():
    assert cover(np.zeros((4, 4, 4), dtype=bool), 4, (8, 8, 8), (2, 2, 2)) == []
    with pytest.raises(ValueError, match="do not fit"):
        cover(np.ones((4, 4, 4), dtype=bool), 4, (8, 8, 32), (2, 2, 2))


def test_the_blending_weights_are_those_of_monai():
    from monai.data.utils import compute_importance_map
    from monai.utils import BlendMode

    ours = blending_weights((32, 24, 16))
    theirs = compute_importance_map((32, 24, 16), mode=BlendMode.GAUSSIAN, sigma_scale=0.125).numpy()
    np.testing.assert_allclose(ours / ours.max(), np.maximum(theirs / theirs.max(), 1e-3), atol=1e-3)


def mean_of_neighbors(image: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool3d(image, 3, 1, 1, count_include_pad=False)


TWO_AT_A_TIME = Execution("cpu", "fp32", batch=2)
TOO_MUCH = torch.OutOfMemoryError("out of memory")


def predict(load, execution=TWO_AT_A_TIME, report=no_report, tiles=None, before=None):
    hu = np.random.default_rng(0).normal(100.0, 50.0, (48, 48, 64)).astype(np.float32)
    if tiles is None:
        tiles = cover(np.ones((12, 12, 16), dtype=bool), 4, (32, 32, 32), (4, 4, 4))
    result = predict_tiles(
        load, execution, hu, lambda part: torch.as_tensor(part)[None] / 100.0, tiles, report, "working", before
    )
    return hu, result


WHOLE = (slice(None), slice(None), slice(None))


def cube(*first: int, size: int = 32) -> Box:
    k, j, i = (slice(a, a + size) for a in first)
    return k, j, i


def test_blended_tiles_are_the_network_on_the_whole():
    hu, result = predict(lambda _device, _precision: mean_of_neighbors)
    whole = mean_of_neighbors(torch.as_tensor(hu)[None, None] / 100.0)[0].numpy()
    assert result.covered.all()
    # only the faces of tiles see other neighbors than the whole does
    face = np.zeros(hu.shape, dtype=bool)
    for box in cover(np.ones((12, 12, 16), dtype=bool), 4, (32, 32, 32), (4, 4, 4)):
        tile = np.ones((32, 32, 32), dtype=bool)
        tile[1:-1, 1:-1, 1:-1] = False
        face[box] |= tile
    outputs = result.blended(WHOLE)
    np.testing.assert_allclose(outputs[0][~face], whole[0][~face], atol=1e-5)
    assert np.abs(outputs - whole).mean() < 0.01


def test_blended_tiles_are_those_of_monais_sliding_window():
    from monai.inferers import sliding_window_inference

    hu, _ = predict(lambda _device, _precision: mean_of_neighbors)
    image = torch.as_tensor(hu)[None, None] / 100.0
    theirs = sliding_window_inference(
        image, (32, 32, 32), 2, mean_of_neighbors, overlap=0.5, mode="gaussian", sigma_scale=0.125
    )[0].numpy()
    tiles = [cube(k, j, i) for k in (0, 16) for j in (0, 16) for i in (0, 16, 32)]
    _, ours = predict(lambda _device, _precision: mean_of_neighbors, tiles=tiles)
    np.testing.assert_allclose(ours.blended(WHOLE), theirs, atol=2e-3)


def test_where_no_tile_lies_nothing_is_covered():
    _, result = predict(lambda _device, _precision: mean_of_neighbors, tiles=[cube(0, 0, 0)])
    assert result.covered[:32, :32, :32].all()
    assert result.covered.sum() == 32**3
    assert not result.blended(WHOLE)[0][~result.covered].any()


def test_a_second_pass_adds_to_the_first_as_if_they_were_one():
    tiles = [cube(0, 0, 0), cube(0, 16, 16), cube(16, 16, 32), cube(0, 0, 32)]
    _, once = predict(lambda _device, _precision: mean_of_neighbors, tiles=tiles)
    _, first = predict(lambda _device, _precision: mean_of_neighbors, tiles=tiles[:2])
    _, second = predict(lambda _device, _precision: mean_of_neighbors, tiles=tiles[2:], before=first)
    np.testing.assert_allclose(second.blended(WHOLE), once.blended(WHOLE), atol=1e-6)
    assert second.boxes == tuple(tiles)


def test_boxes_of_different_sizes_never_share_a_pass():
    tight = Tight(lambda *_: True)
    tiles = [cube(0, 0, 0), cube(0, 0, 32), cube(0, 0, 0, size=16)]
    predict(tight.load, Execution("cpu", "fp32", batch=3), tiles=tiles)
    assert [count for _, _, count in tight.asked] == [2, 1]


class Tight:
    """A network for which memory is too small, except in what it is told to accept."""

    def __init__(self, accepts, error=TOO_MUCH):
        self.accepts, self.error, self.asked = accepts, error, []

    def load(self, device: str, precision: str):
        def network(image: torch.Tensor) -> torch.Tensor:
            self.asked.append((device, precision, len(image)))
            if not self.accepts(device, precision, len(image)):
                raise self.error
            return mean_of_neighbors(image.float()).to(image.dtype)

        return network


def test_a_smaller_batch_comes_first_and_gives_the_same():
    _, easy = predict(lambda _device, _precision: mean_of_neighbors)
    tight = Tight(lambda _device, _precision, count: count < 2)
    _, result = predict(tight.load, Execution("cpu", "fp32", batch=4))
    np.testing.assert_allclose(result.blended(WHOLE), easy.blended(WHOLE), atol=1e-6)
    assert [count for _, _, count in tight.asked[:3]] == [4, 2, 1]
    assert result.execution.precision == "fp32"
    assert [step.split(": ")[1] for step in result.execution.steps] == [
        "went on with 2 tiles at a time",
        "went on with 1 tile at a time",
    ]


def test_then_half_precision(monkeypatch):
    monkeypatch.setattr(executions, "cpu_emulates_bf16", lambda: False)
    tight = Tight(lambda _device, precision, count: count == 1 and precision == "bf16")
    _, result = predict(tight.load)
    _, easy = predict(lambda _device, _precision: mean_of_neighbors)
    assert result.execution.precision == "bf16"
    assert "half precision (bf16)" in result.execution.steps[-1]
    np.testing.assert_allclose(result.blended(WHOLE), easy.blended(WHOLE), atol=0.02)


def test_the_steps_on_a_gpu_end_on_the_cpu(monkeypatch):
    monkeypatch.setattr(executions, "half_precision", lambda device: "bf16" if device == "cpu" else "fp16")
    execution, seen = Execution("cuda:0", "fp32", batch=2), []
    for _ in range(5):
        execution = smaller(execution)
        seen.append((execution.device, execution.precision, execution.batch, execution.sums_device))
    assert seen == [
        ("cuda:0", "fp32", 1, "cuda:0"),
        ("cuda:0", "fp16", 1, "cuda:0"),
        ("cuda:0", "fp16", 1, "cpu"),
        ("cpu", "fp32", 1, "cpu"),
        ("cpu", "bf16", 1, "cpu"),
    ]
    assert len(execution.steps) == 5
    with pytest.raises(ModelError, match="not enough memory"):
        smaller(execution)


def test_half_precision_that_the_cpu_only_emulates_is_never_taken(monkeypatch):
    monkeypatch.setattr(executions, "cpu_emulates_bf16", lambda: True)
    assert executions.half_precision("cpu") is None
    assert executions.half_precision("mps") == "fp16"
    with pytest.raises(ModelError, match="not enough memory"):
        smaller(Execution("cpu", "fp32"))
    asked = executions.planned_execution("cpu", "bf16", None)
    assert (asked.precision, len(asked.steps)) == ("fp32", 1)
    assert "does not compute in bf16" in asked.steps[0]
    assert executions.planned_execution("cpu", "bf16", "bf16") == Execution("cpu", "bf16")
    assert executions.planned_execution("cpu", "fp32", None) == Execution("cpu", "fp32")


@pytest.mark.parametrize(("slower", "emulated"), [(0.3, False), (1.5, False), (10.0, True), (150.0, True)])
def test_emulated_half_precision_shows_by_its_time(monkeypatch, slower, emulated):
    clock = [0.0]

    def convolve(image, _kernel, padding):
        assert padding == 1
        clock[0] += 0.01 * (slower if image.dtype == torch.bfloat16 else 1.0)

    monkeypatch.setattr(devices.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(torch.nn.functional, "conv3d", convolve)
    assert devices.cpu_emulates_bf16.__wrapped__() is emulated


def test_without_any_memory_the_error_says_what_to_do():
    with pytest.raises(ModelError, match=r"not enough memory for the network: close other programs, or .*region"):
        predict(Tight(lambda *_: False).load)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert out_of_memory(error) is expected


def test_other_errors_are_not_swallowed():
    tight = Tight(lambda *_: False, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        predict(tight.load)
    assert len(tight.asked) == 1


def test_cancel_takes_effect_between_passes():
    calls = []

    def report(fraction: float, _message: str) -> None:
        calls.append(fraction)
        if len(calls) == 3:
            raise Cancelled("cancelled")

    tight = Tight(lambda *_: True)
    with pytest.raises(Cancelled):
        predict(tight.load, Execution("cpu", "fp32", batch=1), report)
    assert len(tight.asked) == 2
