"""Measure segmentation: time, memory and overlap with the truth, ours beside its peers, as Markdown.

    python Testing/benchmark_segmentation.py STUDY [--model NAME|PATH] [--rows network:bf16 monai:bf16 ...]

STUDY is a folder of `stenosis-detection phantom` (with truth.seg.nrrd) or any volume. Every row runs in a process of
its own, which gives it its own peak of memory, and is printed as soon as it is done; networks are loaded and run once
on a small probe before the clock starts. Reading and resampling are left out of the times, and so is finding the
aorta, which all rows share. Rows:

- `network`: coarse to fine, as in the product.
- `monai`: MONAI's `SlidingWindowInferer` with the same fine weights over the whole volume at 0.5 mm, windows of 96,
  MONAI's own default overlap of 0.25, Gaussian blending; then the same selection of trees.
- `monai-half`: the same with an overlap of 0.5, that of nnU-Net and of most bundles.
- `nnunet`: nnU-Net's predictor with the same fine network, its own step of half a tile, no mirroring (needs nnunetv2).
- `vesselness`.

Before the rows it prints how many voxels a plain window would send through the fine network, over the whole volume and
over the box of the heart.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROWS = ("network:bf16", "monai:bf16", "monai-half:bf16", "network:fp32", "monai:fp32", "vesselness:fp32")
OVERLAPS = {"monai": 0.25, "monai-half": 0.5, "nnunet": 0.5}
PREPARING = ("preparing the heart region", "loading the network")


class Clock:
    """Sums wall and CPU seconds by the message of the last report."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.user: dict[str, float] = {}
        self._message, self._at = "", (time.perf_counter(), self._now())

    @staticmethod
    def _now() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def __call__(self, _fraction: float, message: str) -> None:
        """Take a report of progress."""
        now = (time.perf_counter(), self._now())
        self.wall[self._message] = self.wall.get(self._message, 0.0) + now[0] - self._at[0]
        self.user[self._message] = self.user.get(self._message, 0.0) + now[1] - self._at[1]
        self._message, self._at = message, now

    def seconds(self, table: dict[str, float]) -> float:
        """Return the sum of all that is neither loading nor resampling."""
        return sum(value for message, value in table.items() if message and message not in PREPARING)


def measure(study: Path, row: str, model: str) -> dict[str, object]:
    """Run one row in this process."""
    from StenosisDetectionLib import AnalysisOptions, read_volume
    from StenosisDetectionLib.devices import resolve_device
    from StenosisDetectionLib.segmentation import find_aorta, get_model

    method, precision = row.split(":")
    volume = read_volume(volume_of(study))
    device = resolve_device("auto")
    aorta = find_aorta(volume)
    counts = warmed(model, precision, device) if method != "vesselness" else [0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = Clock()
    if method in OVERLAPS:
        result = plain(method, volume, aorta, model, precision, device, clock)
    else:
        options = AnalysisOptions(model="vesselness" if method == "vesselness" else model, precision=precision)
        result = get_model(options.model).segment(volume, aorta, options, device, clock)
    clock(1.0, "")
    return {
        "row": row,
        "network_megavoxels": sum(counts) / 1e6,
        "size": list(volume.size_ijk),
        "spacing": [round(s, 3) for s in volume.spacing_mm],
        "device": device,
        "precision": result.precision,
        "wall_s": clock.seconds(clock.wall),
        "user_s": clock.seconds(clock.user),
        "network_wall_s": clock.wall.get("outlining the arteries", 0.0) + clock.wall.get("finding the heart", 0.0),
        "network_user_s": clock.user.get("outlining the arteries", 0.0) + clock.user.get("finding the heart", 0.0),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
        "before_mb": before / 1024.0,
        "lumen_ml": float(result.lumen.sum() * abs(np.linalg.det(result.ijk_to_ras[:3, :3])) / 1000.0),
        "flags": list(result.flags),
        **scores(study, result),
    }


def plain(method: str, volume, aorta, model: str, precision: str, device: str, clock: Clock):
    """Return what the sliding window of a peer over the whole volume gives with the same fine network."""
    import torch

    from StenosisDetectionLib.models.inputs import network_input
    from StenosisDetectionLib.models.loaded import loaded_network
    from StenosisDetectionLib.segmentation.execution import Execution
    from StenosisDetectionLib.segmentation.grid import resample_mask, resample_to_ras
    from StenosisDetectionLib.segmentation.inference import Prediction
    from StenosisDetectionLib.segmentation.network import TILE_VOXELS, trees_of
    from StenosisDetectionLib.study import ModelInfo

    loaded = loaded_network(weights_of(model)["fine"], device, precision)
    clock(0.0, "preparing the heart region")
    grid = resample_to_ras(volume, loaded.configuration.spacing_mm)
    clock(0.0, "outlining the arteries")
    kind = next(loaded.network.parameters()).dtype
    image = network_input(grid.voxels, aorta.attenuation_hu, loaded.configuration)[None].to(device)

    def network(window):  # blended in fp32, as ours
        return loaded.network(window.to(kind).contiguous(memory_format=torch.channels_last_3d)).float()

    run = nnunet_window if method == "nnunet" else monai_window
    with torch.inference_mode():
        outputs = run(image, network, TILE_VOXELS, OVERLAPS[method]).cpu().numpy()
    del image
    clock(0.9, "growing from the aortic root")
    whole = (slice(0, grid.voxels.shape[0]), slice(0, grid.voxels.shape[1]), slice(0, grid.voxels.shape[2]))
    weights = np.ones(grid.voxels.shape, dtype=np.float32)
    prediction = Prediction(outputs, weights, (whole,), Execution(device, precision))
    mask = resample_mask(aorta.mask, aorta.ijk_to_ras, grid.voxels.shape, grid.ijk_to_ras)
    return trees_of(
        prediction,
        loaded.configuration,
        grid,
        aorta,
        mask,
        aorta.attenuation_hu,
        volume,
        ModelInfo(method, "1"),
        clock,
    )


def monai_window(image, network, tile: int, overlap: float):
    """Return the outputs (H, k, j, i) by MONAI's SlidingWindowInferer."""
    from monai.inferers import SlidingWindowInferer

    return SlidingWindowInferer((tile,) * 3, 1, overlap=overlap, mode="gaussian", sigma_scale=0.125)(image, network)[0]


def nnunet_window(image, network, tile: int, _overlap: float):
    """Return the outputs (H, k, j, i) by the predictor of nnU-Net v2."""
    from types import SimpleNamespace

    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=image.device.type == "cuda",
        device=image.device,
        allow_tqdm=False,
    )

    class Window(torch.nn.Module):  # nnU-Net wants a module, which it moves to its device
        def forward(self, window: torch.Tensor) -> torch.Tensor:
            return network(window)

    predictor.network, predictor.allowed_mirroring_axes = Window(), None
    predictor.configuration_manager = SimpleNamespace(patch_size=(tile,) * 3)
    heads = network(image[..., :32, :32, :32]).shape[1]
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=heads)
    return predictor.predict_sliding_window_return_logits(image[0])


def weights_of(model: str) -> dict[str, Path]:
    """Return the files of the fine and the coarse network of a model."""
    from StenosisDetectionLib.models.registry import find_entry, weight_path

    entry = find_entry(model)
    if entry is not None:
        return {role: weight_path(entry, role) for role in entry.files}
    path = Path(model)
    folder = path if path.is_dir() else path.parent
    fine = path if path.is_file() else folder / "fine.safetensors"
    coarse = folder / "coarse.safetensors"
    return {"fine": fine} | ({"coarse": coarse} if coarse.is_file() else {})


def warmed(model: str, precision: str, device: str) -> list[int]:
    """Load the networks, run each once on its probe, and return the list to which each pass adds its voxels."""
    from StenosisDetectionLib.models.loaded import _run_probe, loaded_network

    counts: list[int] = []
    for role, path in weights_of(model).items():
        loaded = loaded_network(path, device, precision if role == "fine" else "fp32")
        _run_probe(loaded)
        loaded.network.register_forward_pre_hook(lambda _module, given: counts.append(given[0][:, 0].numel()))
    return counts


def plain_voxels(size: tuple[int, ...], overlap: float, tile: int = 96) -> float:
    """Return the million voxels that MONAI's sliding window sends through a network."""
    from monai.data.utils import dense_patch_slices
    from monai.inferers.utils import _get_scan_interval

    padded = tuple(max(n, tile) for n in size)
    interval = _get_scan_interval(padded, (tile,) * 3, 3, (overlap,) * 3)
    return len(dense_patch_slices(padded, (tile,) * 3, interval)) * tile**3 / 1e6


def print_plain_voxels(study: Path) -> None:
    """Print what a plain window costs over the whole volume and over the box of the heart, at 0.5 mm."""
    from StenosisDetectionLib import read_volume
    from StenosisDetectionLib.segmentation import find_aorta
    from StenosisDetectionLib.segmentation.grid import ras_bounds
    from StenosisDetectionLib.segmentation.region import heart_box

    volume = read_volume(volume_of(study))
    low, high = heart_box(volume, find_aorta(volume), None)
    boxes = {"whole volume": np.subtract(*ras_bounds(volume)[::-1]), "box of the heart": high - low}
    print("| plain window at 0.5 mm over | voxels | Mvoxels at overlap 0.25 | at overlap 0.5 |\n|---|---|---|---|")
    for name, extent in boxes.items():
        size = tuple(int(n) for n in np.floor(extent / 0.5) + 1)
        words = " | ".join(f"{plain_voxels(size, overlap):.1f}" for overlap in (0.25, 0.5))
        print(f"| {name} | {' x '.join(map(str, size))} | {words} |")


def volume_of(study: Path) -> Path:
    """Return the volume of a study: the file itself, or the one in a folder of a phantom."""
    if study.is_file():
        return study
    return next(path for path in sorted(study.glob("*.nrrd")) if not path.name.endswith(".seg.nrrd"))


def scores(study: Path, result) -> dict[str, float | None]:
    """Return overlap with the truth, ostia and aorta left out; nothing where there is no truth."""
    truth = study / "truth.seg.nrrd"
    if not study.is_dir() or not truth.is_file():
        return {}
    from StenosisDetectionLib import read_label_map
    from StenosisDetectionLib.evaluation.label_maps import compare_label_maps
    from StenosisDetectionLib.study import LabelMap

    labels = result.lumen.astype(np.uint8) + 2 * result.aorta.astype(np.uint8)
    found = LabelMap(labels, result.ijk_to_ras, {1: "coronary lumen", 2: "aorta"})
    whole = compare_label_maps(found, read_label_map(truth)).whole
    return {"dice": whole.dice, "cldice": whole.cldice, "hd95_mm": whole.hd95_mm, "betti0": whole.betti0_error}


def main() -> None:
    """Run the rows, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.model is None:
        from StenosisDetectionLib import AnalysisOptions

        arguments.model = AnalysisOptions().model
    if arguments.one:
        print(json.dumps(measure(arguments.study, arguments.one, arguments.model)))
        return
    print(f"{arguments.study.stem}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores\n")
    print_plain_voxels(arguments.study)
    print("\n| row | on | wall s | CPU s | of it network, s | Mvoxels | peak MB | Dice | clDice | HD95 mm | Betti-0 |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    by_name = {}
    for row in arguments.rows:
        command = [sys.executable, __file__, str(arguments.study), "--model", arguments.model, "--one", row]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"| {row} | {done.stderr.strip().splitlines()[-1]} |", flush=True)
            continue
        by_name[row] = found = json.loads(done.stdout.strip().splitlines()[-1])
        figures = [found.get(name) for name in ("dice", "cldice", "hd95_mm", "betti0")]
        words = ["" if value is None else f"{value:.3f}" for value in figures]
        print(
            f"| {row} | {found['device']} | {found['wall_s']:.1f} | {found['user_s']:.1f} "
            f"| {found['network_user_s']:.1f} | {found['network_megavoxels']:.1f} | {found['peak_mb']:.0f} "
            f"| {' | '.join(words)} |",
            flush=True,
        )
    print()
    for row, theirs in by_name.items():
        method, precision = row.split(":")
        ours = by_name.get(f"network:{precision}")
        if ours and method in OVERLAPS:
            ratios = [theirs[key] / ours[key] for key in ("network_megavoxels", "network_user_s", "user_s", "wall_s")]
            print(
                f"{row} takes {ratios[0]:.1f} times our voxels, {ratios[1]:.1f} times the CPU time in networks, "
                f"{ratios[2]:.1f} times the CPU time and {ratios[3]:.1f} times the wall time with all that follows"
            )


if __name__ == "__main__":
    main()
