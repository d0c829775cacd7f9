"""Make the pictures of the README from a result, in the stand-in for Slicer:

    python Testing/make_screenshots.py demo-output/case-*/scene.mrb Resources/Screenshots

The panel is the real .ui file with real Qt widgets. The views are drawn here from the nodes that the panel made, by the
same rules as Slicer's (slice matrix, window and level, lines projected on the slice, VTK charts); they lack Slicer's
rulers and frames. `--dark` and `--scale 1.25` show what the panel looks like then.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

SECTIONS = {
    "input": ("inputs", "model"),
    "findings": ("findings",),
    "vessels": ("vessels",),
    "correct": ("correct",),
    "review": ("review", "advanced"),
}
ALL_SECTIONS = ("inputs", "model", "findings", "vessels", "correct", "review", "advanced")
PANEL_WIDTH = 520
VIEWS = {"3d": (430, 510), "long": (270, 510), "cross": (400, 510), "reformation": (1100, 250), "plot": (1100, 385)}
SCENE = (1280, 960)
THUMBNAIL = (260, 280)
"""Size in pixels that the Sample Data module asks for."""


def main(arguments=None):
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scene", type=Path, help="scene.mrb of stenosis-detection analyze")
    parser.add_argument("output", type=Path, help="folder of the pictures")
    parser.add_argument("--dark", action="store_true", help="the dark theme, only the panel")
    parser.add_argument("--scale", default="1", help="scale of the screen, only the panel")
    options = parser.parse_args(arguments)
    os.environ["QT_SCALE_FACTOR"] = options.scale

    from panel_fixtures import MODULE, NAMES
    from slicer_stand_in.install import installed
    from slicer_stand_in.pythonqt import Table
    from view_pictures import three_d_picture

    table = Table(NAMES)
    with tempfile.TemporaryDirectory() as folder, installed(MODULE, table, Path(folder)) as module:
        if options.dark:
            _darken()
        widget = _opened(module, table, options.scene, Path(folder))
        plain = not options.dark and options.scale == "1"
        for name, sections in SECTIONS.items() if plain else {"all": ALL_SECTIONS}.items():
            suffix = "" if plain else f"-{'dark' if options.dark else 'light'}-{options.scale}"
            _panel_picture(widget, sections).save(str(options.output / f"panel-{name}{suffix}.png"))
        if plain:
            widget.ui.curvedCheckBox.checked = False
            straight = _views_picture()
            widget.ui.curvedCheckBox.checked = True
            straight.save(str(options.output / "views.png"))
            _views_picture().save(str(options.output / "views-curved.png"))
            widget.ui.curvedCheckBox.checked = False
            three_d_picture(SCENE).save(str(options.output / "scene.png"))
            three_d_picture(THUMBNAIL, labels=False).save(str(options.output / "StenosisDetectionDemo.png"))
            panel = _panel_picture(widget, ("inputs", "findings", "vessels"))
            _beside(panel, _views_picture(panel.height())).save(str(options.output / "StenosisDetection.png"))
        widget.cleanup()


def _opened(module, table, scene_file, folder):
    """Return the panel with the result of a scene file, at its worst lesion."""
    import slicer
    from benchmark_panel import _open_panel
    from PySide6.QtWidgets import QApplication
    from scenes import read_into

    from StenosisDetectionLib.gui.texts import worst_lesion
    from StenosisDetectionLib.scene import review_views as views

    widget = _open_panel(module, table)
    read_into(slicer.mrmlScene, scene_file.resolve(), folder)
    QApplication.processEvents()
    session = widget.panel.session
    session.volume_node.SetName("StenosisDetectionDemo")
    QApplication.processEvents()
    worst = worst_lesion(session.study)
    widget.panel._choose_lesion(worst)
    sizes = {views.LONG_AXIS: "long", views.CROSS_SECTION: "cross", views.REFORMATION: "reformation"}
    for name, view in sizes.items():
        views.view_node(slicer.mrmlScene, name).SetDimensions(*VIEWS[view], 1)
    widget.panel.vessels._show_vessel()
    widget.ui.acceptButton.click()
    return widget


def _panel_picture(widget, sections):
    from PySide6.QtWidgets import QApplication

    for name in ALL_SECTIONS:
        getattr(widget.ui, f"{name}CollapsibleButton").collapsed = name not in sections
    target = widget.parent._target
    for _ in range(3):
        QApplication.processEvents()
        target.resize(PANEL_WIDTH, max(target.layout().sizeHint().height(), 300))
    return target.grab().toImage()


def _views_picture(least_height=0):
    """Return the review layout; its plot fills the height that is asked for."""
    from PySide6 import QtCore, QtGui
    from view_pictures import plot_picture, slice_picture, three_d_picture

    from StenosisDetectionLib.scene import review_views as views

    bar = 6
    sizes = dict(VIEWS)
    others = sum(VIEWS[name][1] + bar for name in ("3d", "reformation"))
    sizes["plot"] = VIEWS["plot"][0], max(VIEWS["plot"][1], least_height - others - bar)
    pictures = {
        "3d": three_d_picture(VIEWS["3d"]),
        "long": slice_picture(views.LONG_AXIS, VIEWS["long"]),
        "cross": slice_picture(views.CROSS_SECTION, VIEWS["cross"]),
        "reformation": slice_picture(views.REFORMATION, VIEWS["reformation"]),
        "plot": plot_picture(sizes["plot"]),
    }
    colors = {"3d": "#7f7fb2", "long": "#E69F00", "cross": "#56B4E9", "reformation": "#009E73", "plot": "#888888"}
    whole = QtGui.QImage(sizes["plot"][0], others + sizes["plot"][1] + bar, QtGui.QImage.Format_RGB32)
    whole.fill(QtCore.Qt.black)
    painter = QtGui.QPainter(whole)
    x = y = 0
    for name, image in pictures.items():
        painter.fillRect(x, y, sizes[name][0] - 1, bar, QtGui.QColor(colors[name]))
        painter.drawImage(x, y + bar, image)
        x += sizes[name][0]
        if x >= whole.width():
            x, y = 0, y + sizes[name][1] + bar
    painter.end()
    return whole


def _beside(left, right):
    from PySide6 import QtGui

    image = QtGui.QImage(left.width() + right.width(), max(left.height(), right.height()), QtGui.QImage.Format_RGB32)
    image.fill(QtGui.QColor(20, 20, 25))
    painter = QtGui.QPainter(image)
    painter.drawImage(0, 0, left)
    painter.drawImage(left.width(), 0, right)
    painter.end()
    return image


def _darken():
    """Give the application the dark palette that Slicer has in its dark theme."""
    from PySide6 import QtGui, QtWidgets

    role, color, palette = QtGui.QPalette, QtGui.QColor, QtGui.QPalette()
    for part, value in {
        role.Window: (53, 53, 53), role.WindowText: (255, 255, 255), role.Base: (35, 35, 35),
        role.AlternateBase: (53, 53, 53), role.Text: (255, 255, 255), role.Button: (53, 53, 53),
        role.ButtonText: (255, 255, 255), role.Highlight: (42, 130, 218), role.HighlightedText: (0, 0, 0),
        role.PlaceholderText: (127, 127, 127),
    }.items():  # fmt: skip
        palette.setColor(part, color(*value))
    for part in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(role.Disabled, part, color(127, 127, 127))
    QtWidgets.QApplication.instance().setPalette(palette)


if __name__ == "__main__":
    main()
