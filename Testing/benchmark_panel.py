"""How fast the panel answers, and what it keeps: in the stand-in for Slicer, on a scene of `analyze`.

    python Testing/benchmark_panel.py demo-output/case-*/scene.mrb

Printed for the result in the file: clicks from a loaded volume to the first lesion; processor and wall time of a click
on a lesion (all views, plot, straightened vessel; without rendering, which the stand-in does not do), of a step along
the vessel, of a dragged marker, of keeping it and of a moved point of a course; how long the window is blocked when a
result arrives; the memory before, with and after the result. Nothing here is a test.
"""

import ctypes
import gc
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from panel_fixtures import MODULE, NAMES
from scenes import read_into


def _measured(step, repeats=1):
    """Return the median processor and wall time of a step in milliseconds."""
    used, passed = [], []
    for number in range(repeats):
        processor, wall = time.process_time(), time.perf_counter()
        step(number)
        used.append(1000.0 * (time.process_time() - processor))
        passed.append(1000.0 * (time.perf_counter() - wall))
    return statistics.median(used), statistics.median(passed)


def _memory_mb():
    """Return the memory this process holds now, in MB, without what is freed but kept by the allocator for later."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def _load_libraries():
    """Load what stays in memory once it has been used, so that it is not taken for a part of the result."""
    import scipy.signal  # noqa: F401
    import torch

    torch.nn.functional.grid_sample(torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 1, 1, 3), align_corners=True)


def _open_panel(module, table):
    import slicer
    from slicer_stand_in.layout import LayoutManager
    from slicer_stand_in.pythonqt import Wrapped
    from slicer_stand_in.widgets import make_parent

    slicer.app.layout = LayoutManager(table, slicer.mrmlScene)
    target = make_parent()
    widget = module.StenosisDetectionWidget(Wrapped(table, target))
    widget.setup()
    target.show()
    return widget


def _moved_course(vessel):
    """Return the control points of a vessel as the panel shows them, one in the middle moved by 1 mm."""
    import slicer

    from StenosisDetectionLib.scene.marker_nodes import COURSE, marker_positions, remove_markers, show_course

    points = marker_positions(show_course(slicer.mrmlScene, vessel.points_ras, vessel.distance_mm, vessel.name, None))
    remove_markers(slicer.mrmlScene, COURSE)
    points[len(points) // 2] += (0.6, 0.6, 0.5)
    return points


def _wait_for_background(panel):
    from PySide6.QtWidgets import QApplication

    while panel.vessels._reformation.preparing:
        QApplication.processEvents()


def _longest_blocks(panel, count=5):
    """Apply with an engine that has its result at once; return the longest rounds of the event loop, in ms of the
    processor that the window's own thread used."""
    from PySide6.QtWidgets import QApplication

    study = panel.session.study
    panel._logic.analyze = lambda *_: study
    panel.ui.applyButton.click()
    rounds = []
    while panel.run.running:
        before = time.thread_time()
        QApplication.processEvents()
        rounds.append(1000.0 * (time.thread_time() - before))
    del panel._logic.analyze
    assert panel.session.study is not None, panel.ui.statusLabel.text
    return sorted(rounds, reverse=True)[:count]


def main(path):
    """Print the figures for one scene file."""
    import slicer
    from slicer_stand_in.install import installed
    from slicer_stand_in.pythonqt import Table

    def show(name, figures):
        print(f"{name:58s} {figures[0]:8.0f} ms processor {figures[1]:8.0f} ms wall")

    table = Table(NAMES)
    with tempfile.TemporaryDirectory() as folder, installed(MODULE, table, Path(folder)) as module:
        widget = _open_panel(module, table)
        panel, ui = widget.panel, widget.ui
        _load_libraries()
        before = _memory_mb()
        show(
            "opening the scene with its result",
            _measured(lambda _: read_into(slicer.mrmlScene, Path(path).resolve(), Path(folder))),
        )
        session = panel.session
        study = session.study
        assert study is not None, ui.statusLabel.text
        voxels = study.volume.voxels.size / 1e6
        print(f"{len(study.tree.vessels)} vessels, {len(study.lesions)} lesions, {voxels:.0f} M voxels")
        print("clicks from a loaded volume to the worst lesion in all views: 1 (Apply)")
        names = [lesion.id for lesion in study.lesions]

        def click(number):
            panel.findings.choose(names[number % len(names)])
            panel.go_to_lesion(names[number % len(names)])

        show("making the straightened vessels in the background", _measured(lambda _: _wait_for_background(panel)))
        show("first click on a lesion, which shows the layout", _measured(click))
        show("click on a lesion, median of all", _measured(lambda n: click(n + 1), len(names)))
        panel.findings.choose(names[0])
        panel.go_to_lesion(names[0])
        show("click on a lesion of the vessel that is shown", _measured(lambda _: click(0), 10))
        start = ui.positionSlider.value

        def move(number):
            ui.positionSlider.value = start + 0.25 * (number + 1)

        ui.curvedCheckBox.checked = True

        def turn(number):
            ui.rotationSlider.value = 5.0 * (number + 1)

        show("curved view turned", _measured(turn, 10))
        ui.curvedCheckBox.checked = False
        show("step along the vessel", _measured(move, 20))
        lesion = session.lesion(names[0])

        places = lesion.start_mm, lesion.throat_mm, lesion.end_mm

        def measure(number):
            session.measured_lesion(names[0], places[0], places[1], places[2] + 0.25 * number)

        show("lesion measured while a marker is dragged", _measured(measure, 20))

        def keep(number):
            ui.distalSpinBox.value = places[2] + 0.25 * (number + 1)

        show("moved marker kept: measured, tables, views, record", _measured(keep, 5))
        longest = max(study.tree.vessels, key=lambda vessel: vessel.length_mm)
        course = _moved_course(longest)
        show(
            f"a point of a course of {longest.length_mm:.0f} mm moved, measured again",
            _measured(lambda _: session.course_work(longest.name, course)(lambda _progress: None), 5),
        )
        blocks = " ".join(f"{block:.0f}" for block in _longest_blocks(panel))
        print(f"a new result arrives: longest rounds of the event loop {blocks} ms processor")
        del study, lesion
        for number in (1, 2, 3):
            with_result = _memory_mb()
            slicer.mrmlScene.Clear(0)
            after = _memory_mb()
            times = f"{before:.0f} MB before, {with_result:.0f} MB with the result, {after:.0f} MB after closing it"
            print(f"memory, scene {number}: {times}")
            if number < 3:
                read_into(slicer.mrmlScene, Path(path).resolve(), Path(folder))
                click(0)
        widget.cleanup()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python Testing/benchmark_panel.py SCENE.mrb (a scene.mrb of stenosis-detection analyze)")
    main(sys.argv[1])
