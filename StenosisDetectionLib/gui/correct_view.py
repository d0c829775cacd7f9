"""The correction section of the panel: markers of a lesion, course and name of a vessel, segmentation, undo.

In: the widgets of the .ui file (chosenLesionLabel, the five spin boxes of the markers, markersButton, addLesionButton,
newNameComboBox, renameButton, editCurveButton, measureCurveButton, undoButton) and a `Session`. Out: steps in the
session. Markers live in `markers.py`; the work of measuring a new course runs where the panel runs its work.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..i18n import tr as _
from ..scene import marker_nodes
from ..study import Lesion
from .markers import MarkerWatch
from .session import Session
from .texts import moved_line
from .vocabulary import error_sentence

_MARKERS = ("proximalSpinBox", "throatSpinBox", "distalSpinBox")
_REFERENCES = ("referenceProximalSpinBox", "referenceDistalSpinBox")
_SPIN_BOXES = (*_MARKERS, *_REFERENCES)


class CorrectView:
    """Corrects the study of a session.

    Parameters
    ----------
    chosen : returns the id of the chosen lesion, None when none is.
    place : returns the vessel that is looked at and the distance along it in mm; None when none is.
    choose : told the id of the lesion that is to be chosen.
    guard : runs a step and shows its error, if it has one.
    measure_course : told a vessel and the new points (N, 3) of its course in RAS.
    """

    def __init__(
        self,
        ui: Any,
        session: Session,
        chosen: Callable[[], str | None],
        place: Callable[[], tuple[str, float] | None],
        choose: Callable[[str], None],
        guard: Callable[[Callable[[], None]], None],
        measure_course: Callable[[str, np.ndarray], None],
    ) -> None:
        self._ui = ui
        self._session = session
        self._chosen, self._place, self._choose = chosen, place, choose
        self._guard = guard
        self._measure_course = measure_course
        self._filling = False
        self._course_of: str | None = None
        self._markers = MarkerWatch(self._on_dragging, self._on_dragged)
        for name in _SPIN_BOXES:
            getattr(ui, name).connect("valueChanged(double)", self._on_numbers)
        ui.markersButton.connect("toggled(bool)", self._on_markers)
        ui.addLesionButton.connect("clicked(bool)", self._on_add)
        ui.renameButton.connect("clicked(bool)", self._on_rename)
        ui.editCurveButton.connect("toggled(bool)", self._on_edit_course)
        ui.measureCurveButton.connect("clicked(bool)", self._on_measure_course)
        ui.undoButton.connect("clicked(bool)", self._on_undo)
        self.refresh()

    def refresh(self) -> None:
        """Show the chosen lesion and the vessel that is looked at."""

        lesion, place = self._lesion(), self._place()
        self._ui.chosenLesionLabel.text = (
            _("No lesion is chosen: choose one under Findings.") if lesion is None else moved_line(lesion, lesion)
        )
        for name in (*_SPIN_BOXES, "markersButton"):
            getattr(self._ui, name).enabled = lesion is not None
        self._fill_numbers(lesion)
        for name in ("addLesionButton", "newNameComboBox", "renameButton", "editCurveButton"):
            getattr(self._ui, name).enabled = place is not None
        self._fill_names(place)
        label = self._session.undo_label
        self._ui.undoButton.enabled = bool(label)
        self._ui.undoButton.text = _("&Undo: {step}").format(step=label) if label else _("&Undo")
        self._ui.undoButton.toolTip = _("Take the last step back") if label else _("Nothing to undo")
        if lesion is None:
            self._ui.markersButton.checked = False
        elif self._ui.markersButton.checked:
            self._show_markers(lesion)
        if self._course_of is not None and (place is None or place[0] != self._course_of):
            self._ui.editCurveButton.checked = False
        self._ui.measureCurveButton.enabled = self._course_of is not None

    def close(self) -> None:
        """Forget everything that is being corrected."""
        self._ui.markersButton.checked = False
        self._ui.editCurveButton.checked = False

    # Markers of a lesion

    def _lesion(self) -> Lesion | None:
        name = self._chosen()
        try:
            return None if name is None else self._session.lesion(name)
        except KeyError:
            return None

    def _fill_numbers(self, lesion: Lesion | None) -> None:
        self._filling = True
        values = (lesion.start_mm, lesion.throat_mm, lesion.end_mm) if lesion is not None else (0.0, 0.0, 0.0)
        for name, value in zip(_MARKERS, values, strict=True):
            getattr(self._ui, name).value = value
        for name in _REFERENCES:
            box = getattr(self._ui, name)
            box.value = box.minimum
        self._filling = False

    def _reference_mm(self) -> tuple[float, float] | None:
        low, high = (float(getattr(self._ui, name).value) for name in _REFERENCES)
        return (low, high) if low >= 0.0 and high >= 0.0 else None

    def _on_numbers(self, _value: float) -> None:
        lesion = self._lesion()
        if self._filling or lesion is None:
            return
        start, throat, end = (float(getattr(self._ui, name).value) for name in _MARKERS)
        reference = self._reference_mm()
        half_set = [float(getattr(self._ui, name).value) >= 0.0 for name in _REFERENCES]
        if any(half_set) and not all(half_set):
            return  # the other marker follows
        self._guard(lambda: self._session.move_lesion(lesion.id, start, throat, end, reference))

    def _on_markers(self, checked: bool) -> None:
        import slicer

        lesion = self._lesion()
        if checked and lesion is not None:
            self._show_markers(lesion)
        else:
            self._markers.stop()
            marker_nodes.remove_markers(slicer.mrmlScene, marker_nodes.LESION_MARKERS)

    def _show_markers(self, lesion: Lesion) -> None:
        import slicer

        self._markers.stop()
        vessel = self._session.study.tree.vessel(lesion.vessel) if self._session.study is not None else None
        if vessel is None:
            return
        places = (lesion.start_mm, lesion.throat_mm, lesion.end_mm)
        nearest = [int(np.argmin(np.abs(vessel.distance_mm - place))) for place in places]
        transform = self._session.volume_node.GetTransformNodeID()
        node = marker_nodes.show_lesion_markers(slicer.mrmlScene, vessel.points_ras[nearest], transform)
        self._markers.start(node)

    def _distances(self, positions: np.ndarray) -> tuple[float, float, float] | None:
        """Return where along its vessel the markers of the chosen lesion lie."""
        from .browse import vessel_path

        lesion, study = self._lesion(), self._session.study
        path = vessel_path(study, lesion.vessel) if lesion is not None and study is not None else None
        if path is None:
            return None
        start, throat, end = (path.nearest_distance(position) for position in positions)
        return start, throat, end

    def _on_dragging(self, positions: np.ndarray) -> None:
        """Show what the markers would measure, while they are dragged."""
        lesion, places = self._lesion(), self._distances(positions)
        if lesion is None or places is None:
            return
        try:
            moved = self._session.measured_lesion(lesion.id, *places)
        except Exception as error:
            self._ui.chosenLesionLabel.text = error_sentence(str(error))
            return
        self._ui.chosenLesionLabel.text = moved_line(lesion, moved)
        self._fill_numbers(moved)

    def _on_dragged(self, positions: np.ndarray) -> None:
        lesion, places = self._lesion(), self._distances(positions)
        if lesion is not None and places is not None:
            self._guard(lambda: self._session.move_lesion(lesion.id, *places))
            self._show_markers(self._session.lesion(lesion.id))  # on the vessel, or back where they were

    def _on_add(self, _checked: bool = False) -> None:
        place = self._place()
        if place is not None:
            self._guard(lambda: self._choose(self._session.add_lesion(*place)))

    # Vessels

    def _fill_names(self, place: tuple[str, float] | None) -> None:
        from ..anatomy import VESSELS

        combo = self._ui.newNameComboBox
        combo.blockSignals(True)
        if combo.count == 0:
            for name in VESSELS:
                combo.addItem(name)
        combo.setEditText(place[0] if place is not None else "")
        combo.blockSignals(False)

    def _on_rename(self, _checked: bool = False) -> None:
        place = self._place()
        if place is not None:
            self._guard(lambda: self._session.rename(place[0], self._ui.newNameComboBox.currentText))

    def _on_edit_course(self, checked: bool) -> None:
        import slicer

        place, study = self._place(), self._session.study
        if checked and place is not None and study is not None:
            vessel = study.tree.vessel(place[0])
            transform = self._session.volume_node.GetTransformNodeID()
            marker_nodes.show_course(slicer.mrmlScene, vessel.points_ras, vessel.distance_mm, vessel.name, transform)
            self._course_of = vessel.name
        else:
            marker_nodes.remove_markers(slicer.mrmlScene, marker_nodes.COURSE)
            self._course_of = None
        self._ui.measureCurveButton.enabled = self._course_of is not None

    def _on_measure_course(self, _checked: bool = False) -> None:
        import slicer

        from ..scene.browse_nodes import find

        node = find(slicer.mrmlScene, marker_nodes.COURSE)
        if node is not None and self._course_of is not None:
            self._measure_course(self._course_of, marker_nodes.marker_positions(node))

    def _on_undo(self, _checked: bool = False) -> None:
        self._guard(self._session.undo)
