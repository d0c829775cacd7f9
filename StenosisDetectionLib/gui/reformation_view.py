"""The reformatted view of a vessel, straightened or curved, with the lumen, the lesions and the place looked at.

In: the study of a session and the vessel that is looked at. Out: hidden nodes of the scene. Straightened vessels are
made in the background as soon as there is a study, so that going to a lesion does not wait for them; a vessel that is
needed earlier is made at once.
"""

import numpy as np

from ..centerline.frames import rotation_minimizing_frames
from ..progress import Progress, ProgressCallback
from ..reformation import Reformation, cross_sections, curved
from ..scene import browse_nodes, review_views
from ..study import CENTERLINE_SPACING_MM, CTVolume, Lesion, StudyResult, Vessel
from .browse import VesselPath
from .drawing import Drawing, curved_drawing, straightened_drawing
from .worker import YIELD_SECONDS, Worker

HALF_WIDTH_MM, PIXEL_MM = 8.0, 0.25
_CURVED_MARGIN_MM, _CURVED_PIXEL_MM = 10.0, 0.3

Stacks = dict[str, tuple[np.ndarray, np.ndarray]]
"""By the name of a vessel: its points, which tell whether it is the same one still, and its cross-sections."""


class ReformationView:
    """Shows one vessel of a study at a time."""

    def __init__(self) -> None:
        import qt

        self._volume: CTVolume | None = None
        self._stacks: Stacks = {}
        self._worker: Worker[None] | None = None
        self._drawing: Drawing | None = None
        self._turn_deg = 0.0
        self._curved: tuple[np.ndarray, float, Reformation] | None = None
        self._frames: tuple[np.ndarray, np.ndarray] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(int(1000 * YIELD_SECONDS))
        self._timer.connect("timeout()", self._on_tick)

    @property
    def preparing(self) -> bool:
        """Whether straightened vessels are being made in the background."""
        return self._worker is not None

    def prepare(self, study: StudyResult) -> None:
        """Begin to make all straightened vessels of a study that are not made yet."""
        if self._volume is not study.volume:
            self.close()
            self._volume = study.volume
        wanted = [vessel for vessel in study.tree.vessels if self._known(vessel) is None]
        if wanted and self._worker is None:
            volume, stacks = study.volume, self._stacks
            self._worker = Worker(lambda progress: _make_all(volume, wanted, stacks, progress))
            self._worker.start()
            self._timer.start()

    def take(self, study: StudyResult, views: Stacks) -> None:
        """Take straightened vessels of a study that are made already; what was known of another one is forgotten."""
        self.close()
        self._volume, self._stacks = study.volume, views

    def show(self, path: VesselPath, lesions: tuple[Lesion, ...], rotation_deg: float, as_curved: bool) -> None:
        """Show a vessel with its lesions; does nothing while there is no view for it.

        `rotation_deg` turns the straightened vessel about its path, and the curved one about its main axis.
        """
        import slicer

        scene = slicer.mrmlScene
        if self._volume is None or review_views.view_node(scene, review_views.REFORMATION) is None:
            return
        drawing = self._show_curved(path, rotation_deg) if as_curved else self._show_straightened(path, rotation_deg)
        self._drawing, self._turn_deg = drawing, 0.0 if as_curved else rotation_deg
        browse_nodes.show_reformation_lines(scene, drawing.edges, drawing.lesion_lines(lesions), self._turn_deg)
        review_views.place(
            scene, review_views.REFORMATION, browse_nodes.reformation_matrix(drawing.length_mm, self._turn_deg)
        )

    def strayed(self, matrix: np.ndarray) -> bool:
        """Return whether a slice view at a matrix (4, 4) lies outside of the reformatted vessel."""
        away = matrix[:3, 3] - browse_nodes.REFORMATION_ORIGIN
        # The corner of a turned view lies this far from its middle: so far the mouse wheel may take it.
        return self._drawing is not None and abs(float(away @ matrix[:3, 2])) > np.sqrt(2.0) * HALF_WIDTH_MM + PIXEL_MM

    def fit(self) -> None:
        """Let the vessel that is shown fill the view."""
        import slicer

        node = browse_nodes.find(slicer.mrmlScene, browse_nodes.REFORMATION)
        if node is not None and self._drawing is not None:
            width = self._drawing.length_mm + 2.0 * review_views.REFORMATION_MARGIN_MM
            height = self._drawing.height_mm
            review_views.prepare_slice_view(slicer.mrmlScene, review_views.REFORMATION, node, width, height)

    def show_place(self, distance_mm: float) -> None:
        """Draw a line where the vessel is being looked at."""
        import slicer

        if self._drawing is not None:
            line = self._drawing.place_line(distance_mm, HALF_WIDTH_MM)
            browse_nodes.show_reformation_place(slicer.mrmlScene, line, self._turn_deg)

    def close(self) -> None:
        """Forget everything; waits until the background has let go of the study."""
        self._timer.stop()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel_and_wait()
        self._stacks = {}
        self._volume = self._drawing = self._curved = self._frames = None

    # Inside

    def _show_straightened(self, path: VesselPath, rotation_deg: float) -> Drawing:
        import slicer

        assert self._volume is not None
        known = self._known(path.vessel)
        if known is None:
            known = _stack(self._volume, path.vessel)
            self._stacks[path.vessel.name] = (path.vessel.points_ras, known)
        browse_nodes.show_reformation(slicer.mrmlScene, known, (PIXEL_MM, PIXEL_MM, CENTERLINE_SPACING_MM))
        points = path.vessel.points_ras
        if self._frames is None or self._frames[0] is not points:
            self._frames = (points, rotation_minimizing_frames(points))
        return straightened_drawing(path, self._frames[1], rotation_deg, HALF_WIDTH_MM)

    def _show_curved(self, path: VesselPath, rotation_deg: float) -> Drawing:
        import slicer

        assert self._volume is not None
        made = self._curved
        if made is None or made[0] is not path.vessel.points_ras or made[1] != rotation_deg:
            image = curved(self._volume, path.vessel, rotation_deg, _CURVED_MARGIN_MM, _CURVED_PIXEL_MM)
            self._curved = made = (path.vessel.points_ras, rotation_deg, image)
        voxels = browse_nodes.whole_hu(made[2].values[:, None, :])
        browse_nodes.show_reformation(slicer.mrmlScene, voxels, (_CURVED_PIXEL_MM, 1.0, _CURVED_PIXEL_MM))
        return curved_drawing(path, made[2])

    def _known(self, vessel: Vessel) -> np.ndarray | None:
        points, stack = self._stacks.get(vessel.name, (None, None))
        return stack if points is vessel.points_ras else None

    def _on_tick(self) -> None:
        if self._worker is not None and self._worker.poll():
            self._timer.stop()
            self._worker = None


def straightened_vessels(volume: CTVolume, vessels: list[Vessel]) -> Stacks:
    """Return some vessels straightened; touches no Qt and no MRML."""
    return {vessel.name: (vessel.points_ras, _stack(volume, vessel)) for vessel in vessels}


def _stack(volume: CTVolume, vessel: Vessel) -> np.ndarray:
    """Return the cross-sections of a vessel in whole HU, which take half the memory."""
    return browse_nodes.whole_hu(cross_sections(volume, vessel, half_width_mm=HALF_WIDTH_MM, pixel_mm=PIXEL_MM).values)


def _make_all(volume: CTVolume, vessels: list[Vessel], stacks: Stacks, progress: ProgressCallback) -> None:
    for number, vessel in enumerate(vessels):
        progress(Progress("views", number / len(vessels), vessel.name))
        stacks[vessel.name] = (vessel.points_ras, _stack(volume, vessel))
