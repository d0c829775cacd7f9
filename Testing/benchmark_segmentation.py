"""Measure segmentation: time, memory and overlap with the truth, ours beside its peers, as Markdown.

    python Testing/benchmark_segmentation.py STUDY [--model NAME|PATH] [--precision bf16] [--rows ...] [--repeat N]

STUDY is a folder of `stenosis-detection phantom` (with truth.seg.nrrd) or any volume. Every row runs in a process of
its own, which gives it its own peak of memory. Reading and resampling are left out of the times, and so is finding
the aorta, which all rows share. Rows: `network` (coarse to fine, as in the product), `monai` (MONAI's
SlidingWindowInferer with the same fine weights over the whole volume at 0.5 mm, the same tile and blending, then the
same selection of trees), `nnunet` (nnU-Net's predictor with the same fine network, its own step of half a tile and no
mirroring; needs the package nnunetv2) and `vesselness`.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROWS = ("network:fp32", "network:bf16", "monai:fp32", "monai:bf16", "nnunet:fp32", "vesselness:fp32")
PREPARING = ("preparing the heart region", "loading the network")


class Clock:
    """Sums wall and user CPU seconds by the message of the last report."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.user: dict[str, float] = {}
        self._message, self._at = "", (time.perf_counter(), self._now())

    @staticmethod
    def _now() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_utime

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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = Clock()
    if method in ("monai", "nnunet"):
        result = plain(method, volume, aorta, model, precision, device, clock)
    else:
        options = AnalysisOptions(model="vesselness" if method == "vesselness" else model, precision=precision)
        result = get_model(options.model).segment(volume, aorta, options, device, clock)
    clock(1.0, "")
    return {
        "row": row,
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
    from StenosisDetectionLib.segmentation.network import MARGIN_VOXELS, TILE_VOXELS, trees_of
    from StenosisDetectionLib.study import ModelInfo

    clock(0.0, "loading the network")
    loaded = loaded_network(fine_weights(model), device, precision)
    clock(0.0, "preparing the heart region")
    grid = resample_to_ras(volume, loaded.configuration.spacing_mm)
    clock(0.0, "outlining the arteries")
    kind = next(loaded.network.parameters()).dtype
    image = network_input(grid.voxels, aorta.attenuation_hu, loaded.configuration)[None].to(device, kind)
    window = monai_window if method == "monai" else nnunet_window
    with torch.inference_mode():
        outputs = window(image, loaded.network, TILE_VOXELS, 2 * MARGIN_VOXELS / TILE_VOXELS).float().cpu().numpy()
    del image
    clock(0.9, "growing from the aortic root")
    everywhere = np.ones(grid.voxels.shape, dtype=bool)
    prediction = Prediction(outputs, everywhere, Execution(device, precision))
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

    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=image.device.type == "cuda",
        device=image.device,
        allow_tqdm=False,
    )
    predictor.network, predictor.allowed_mirroring_axes = network, None
    predictor.configuration_manager = SimpleNamespace(patch_size=(tile,) * 3)
    heads = network(image[..., :32, :32, :32]).shape[1]
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=heads)
    return predictor.predict_sliding_window_return_logits(image[0])


def fine_weights(model: str) -> Path:
    """Return the file of the fine network of a model."""
    from StenosisDetectionLib.models.registry import find_entry, weight_path

    entry = find_entry(model)
    if entry is not None:
        return weight_path(entry, "fine")
    path = Path(model)
    return path / "fine.safetensors" if path.is_dir() else path


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
    rows = []
    for row in arguments.rows:
        command = [sys.executable, __file__, str(arguments.study), "--model", arguments.model, "--one", row]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{row}: {done.stderr.strip().splitlines()[-1]}")
            continue
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(f"done: {row}", file=sys.stderr, flush=True)
    if not rows:
        return
    first = rows[0]
    print(
        f"\n{arguments.study.stem}, {first['size']} voxels of {first['spacing']} mm, on {first['device']} "
        f"({platform.processor() or platform.machine()}); reading, resampling and the aorta are left out\n"
    )
    print("| row | wall s | user CPU s | of it network, user s | peak MB | Dice | clDice | HD95 mm | Betti-0 error |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        figures = [row.get(name) for name in ("dice", "cldice", "hd95_mm", "betti0")]
        words = ["" if value is None else f"{value:.3f}" for value in figures]
        print(
            f"| {row['row']} | {row['wall_s']:.1f} | {row['user_s']:.1f} | {row['network_user_s']:.1f} "
            f"| {row['peak_mb']:.0f} | {' | '.join(words)} |"
        )
    by_name = {row["row"]: row for row in rows}
    for peer, precision in (("monai", "fp32"), ("monai", "bf16"), ("nnunet", "fp32")):
        ours, theirs = by_name.get(f"network:{precision}"), by_name.get(f"{peer}:{precision}")
        if ours and theirs:
            network = theirs["network_user_s"] / ours["network_user_s"]
            whole = theirs["wall_s"] / ours["wall_s"]
            print(f"\n{precision}: the plain window of {peer} takes {network:.1f} times the CPU time of our networks,")
            print(f"and {whole:.1f} times the wall time with all that follows.")


if __name__ == "__main__":
    main()
