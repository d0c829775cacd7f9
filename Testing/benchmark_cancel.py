"""How long work goes on after it was cancelled: the longest time between two reports of each stage, on a real study.

    python Testing/benchmark_cancel.py demo-output/demo-study/ct.nrrd [--model NAME]

Work stops at its next report after a cancel, so the longest gap between reports is the longest wait. Times are
processor seconds of this process: on a machine with nothing else to do, and one thread, they are the wait itself. After
the analysis the writing of the case is measured in the same way. Nothing here is a test.
"""

import argparse
import tempfile
import time
from pathlib import Path

TARGET_S = 2.0


class Gaps:
    """A progress callback that keeps, for each stage, the longest gaps and what was being done."""

    def __init__(self):
        self.found = []
        self._last = ("start", "")
        self._since = time.process_time()

    def __call__(self, progress):
        now = time.process_time()
        self.found.append((now - self._since, *self._last))
        self._last, self._since = (progress.stage, progress.message), now

    def show(self):
        """Print the three longest gaps of each stage."""
        for stage in dict.fromkeys(stage for _, stage, _ in self.found):
            gaps = sorted((gap for gap in self.found if gap[1] == stage), reverse=True)
            whole = sum(gap[0] for gap in gaps)
            print(f"{stage:14s} {whole:7.2f} s in {len(gaps)} reports")
            for seconds, _, message in gaps[:3]:
                print(f"    {seconds:6.2f} s {'MISSED ' if seconds > TARGET_S else ''}after '{message}'")


def main(arguments=None):
    """Print the gaps of an analysis and of writing its case."""
    from StenosisDetectionLib import AnalysisOptions, analyze, read_volume
    from StenosisDetectionLib.progress import stage_report
    from StenosisDetectionLib.writing import write_case

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("volume", type=Path, help="a CT angiography")
    parser.add_argument("--model", default=AnalysisOptions.model)
    options = parser.parse_args(arguments)
    volume = read_volume(options.volume)
    print(f"{options.volume.name}, {volume.size_ijk} voxels, model {options.model}, cpu")
    gaps = Gaps()
    study = analyze(volume, AnalysisOptions(model=options.model, device="cpu"), gaps)
    with tempfile.TemporaryDirectory() as folder:
        write_case(study, folder, report=stage_report(gaps, "export", 0.0, 1.0))
    gaps.show()
    print(f"longest wait {max(gap[0] for gap in gaps.found):.2f} s of processor time, target {TARGET_S} s")


if __name__ == "__main__":
    main()
