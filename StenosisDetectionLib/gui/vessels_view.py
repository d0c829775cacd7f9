"""The vessels section of the panel: look along a vessel in the cross-section, along its axis, reformatted and plotted.

In: the widgets of the .ui file (vesselComboBox, positionSlider, rotationSlider, spinSlider, flipCheckBox,
contoursCheckBox, curvedCheckBox, readoutLabel, jumpComboBox, jumpButton, showLayoutButton, restoreLayoutButton) and a
`Session`. Out: the views of Slicer. The mouse wheel in the cross-section moves along the vessel, since the view is
followed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..scene import browse_nodes, review_views
from ..stenosis.hidden import as_shown
from .browse import GOALS, VesselPath, lesion_diameter_mm, vessel_path
from .reformation_view import ReformationView, Stacks
from .session import Session

_LAYOUT_MS = 200
_NEAR_MM = 0.05
"""A cross-section that lies nearer than this to where we put it was not scrolled."""


class VesselsView:
    """Looks along the vessels of a session.

    Parameters
    ----------
    on_vessel : told the name of the vessel that is looked at.
    """

    def __init__(self, ui: Any, session: Session, on_vessel: Callable[[str], None]) -> None:
        import slicer

        self._ui = ui
        self._session = session
        self._on_vessel = on_vessel
        self._parameters: Any = None
        self._path: VesselPath | None = None
        self._reformation = ReformationView()
        self._layout_declined = False
        self._layout_before: int | None = None
        self._watched: list[tuple[Any, int]] = []
        self._filling = False
        self._following = False
        ui.vesselComboBox.connect("currentIndexChanged(int)", self._on_vessel_chosen)
        ui.positionSlider.connect("valueChanged(double)", self._on_moved)
        for slider in (ui.rotationSlider, ui.spinSlider):
            slider.connect("valueChanged(double)", self._on_turned)
        for box in (ui.flipCheckBox, ui.contoursCheckBox):
            box.connect("toggled(bool)", self._on_turned)
        ui.curvedCheckBox.connect("toggled(bool)", self._on_curved)
        ui.jumpButton.connect("clicked(bool)", self._on_jump)
        ui.showLayoutButton.connect("clicked(bool)", self.show_layout)
        ui.restoreLayoutButton.connect("clicked(bool)", self.restore_layout)
        if slicer.app.layoutManager() is not None:  # before a scene is loaded that was saved in our layout
            review_views.register_layout(slicer.app.layoutManager().layoutLogic().GetLayoutNode())
        self.refresh()

    # What is looked at

    @property
    def path(self) -> VesselPath | None:
        """The vessel that is looked at; None when there is none."""
        return self._path

    @property
    def distance_mm(self) -> float:
        """Where along the vessel, in mm from its start."""
        return float(self._ui.positionSlider.value)

    def where(self) -> tuple[str, float] | None:
        """Return the vessel that is looked at and the distance along it; None when there is none."""
        return None if self._path is None else (self._path.vessel.name, self.distance_mm)

    def set_parameters(self, parameters: Any) -> None:
        """Take another parameter node, which keeps what is looked at; None when there is none for now."""
        self._parameters = parameters

    def refresh(self) -> None:
        """Show the study of the session: the same vessel and place as before where there still are such."""
        study = self._session.study
        names = [vessel.name for vessel in study.tree.vessels] if study is not None else []
        kept = self._parameters.vessel if self._parameters is not None else ""
        place = self._parameters.position if self._parameters is not None else 0.0
        self._filling = True
        combo = self._ui.vesselComboBox
        combo.clear()
        for name in names:
            combo.addItem(name)
        combo.currentIndex = max(combo.findText(kept), 0) if names else -1
        self._filling = False
        for name in ("vesselComboBox", "positionSlider", "jumpButton", "jumpComboBox", "rotationSlider", "spinSlider"):
            getattr(self._ui, name).enabled = bool(names)
        if study is not None and names:
            self._reformation.prepare(study)
            self._look_along(combo.currentText, place)
        else:
            self.close()
            self._ui.readoutLabel.text = ""

    def take_views(self, study: Any, views: Stacks) -> None:
        """Take straightened vessels of a new study that were made in the background."""
        self._reformation.take(study, views)

    def go(self, vessel: str, distance_mm: float) -> None:
        """Look at a place on a vessel, in mm from its start."""
        index = self._ui.vesselComboBox.findText(vessel)
        if index < 0:
            return
        self._filling = True
        self._ui.vesselComboBox.currentIndex = index
        self._filling = False
        if self._path is None or self._path.vessel.name != vessel or self._parameters is None:
            self._look_along(vessel, distance_mm)
        else:
            self._move_to(distance_mm)

    def close(self) -> None:
        """Forget the study and remove what was drawn."""
        import slicer

        self._unwatch()
        self._path = None
        self._reformation.close()
        browse_nodes.remove_browse_nodes(slicer.mrmlScene)

    # Layout

    def offer_layout(self) -> None:
        """Show our layout, unless the user has gone back from it before."""
        if not self._layout_declined:
            self.show_layout()

    def show_layout(self, _checked: bool = False) -> None:
        """Show our layout and remember the one before it."""
        import qt
        import slicer

        manager = slicer.app.layoutManager()
        if manager is None:
            return
        self._layout_declined = False
        review_views.register_layout(manager.layoutLogic().GetLayoutNode())
        if manager.layout != review_views.LAYOUT_ID:
            self._layout_before = manager.layout
            manager.setLayout(review_views.LAYOUT_ID)
            self._show_vessel()
            # New views have their size only after Slicer has laid them out, and what fits into them depends on it.
            qt.QTimer.singleShot(_LAYOUT_MS, self._show_vessel)

    def restore_layout(self, _checked: bool = False) -> None:
        """Show the layout that was there before ours."""
        import slicer

        manager = slicer.app.layoutManager()
        if manager is None or manager.layout != review_views.LAYOUT_ID:
            return
        conventional = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView
        manager.setLayout(self._layout_before if self._layout_before is not None else conventional)
        self._layout_before = None
        self._layout_declined = True
        self._show_place()

    def turn_standard_views(self) -> None:
        """Turn two of Slicer's own slice views along and across the vessel, where our layout is not shown."""
        import slicer

        manager = slicer.app.layoutManager()
        if self._path is None or (manager is not None and manager.layout == review_views.LAYOUT_ID):
            return
        rotation, spin = float(self._ui.rotationSlider.value), float(self._ui.spinSlider.value)
        cross = self._path.cross_section(self.distance_mm, spin, bool(self._ui.flipCheckBox.checked))
        along = self._path.long_axis(self.distance_mm, rotation)
        review_views.place(slicer.mrmlScene, review_views.STANDARD_CROSS_SECTION, self._in_world(cross))
        review_views.place(slicer.mrmlScene, review_views.STANDARD_LONG_AXIS, self._in_world(along))

    # Inside

    def _look_along(self, name: str, distance_mm: float) -> None:
        study = self._session.study
        self._path = vessel_path(study, name) if study is not None else None
        if self._path is None:
            return
        self._filling = True
        self._ui.positionSlider.maximum = self._path.length_mm
        self._ui.positionSlider.value = distance_mm
        self._filling = False
        self._on_vessel(name)
        self._show_vessel()

    def _move_to(self, distance_mm: float) -> None:
        self._filling = True
        self._ui.positionSlider.value = distance_mm
        self._filling = False
        self._show_place()

    def _show_vessel(self) -> None:
        """Draw what depends on the vessel: the reformatted view and the plot."""
        import slicer

        path, study, scene = self._path, self._session.counted, slicer.mrmlScene
        if path is None or study is None:
            return
        volume_node = self._session.volume_node
        for name, size in (
            (review_views.CROSS_SECTION, review_views.CROSS_SECTION_MM),
            (review_views.LONG_AXIS, review_views.LONG_AXIS_MM),
        ):
            review_views.prepare_slice_view(scene, name, volume_node, size, size)
        self._show_reformation(path)
        self._reformation.fit()
        self._show_chart(path)
        self._watch()
        self._show_place()

    def _show_reformation(self, path: VesselPath) -> None:
        study = self._session.counted
        if study is not None:
            lesions = tuple(lesion for lesion in study.lesions if lesion.vessel == path.vessel.name)
            as_curved = bool(self._ui.curvedCheckBox.checked)
            self._reformation.show(path, lesions, float(self._ui.rotationSlider.value), as_curved)

    def _show_chart(self, path: VesselPath) -> None:
        import slicer

        study = self._session.counted
        if study is None:
            return
        low, high = path.band_mm()
        columns = {
            "distance_mm": path.vessel.distance_mm,
            "lumen_diameter_mm": path.profile.diameter_mm,
            "reference_diameter_mm": path.reference.diameter_mm,
            "reference_low_mm": low,
            "reference_high_mm": high,
            "lesion_diameter_mm": lesion_diameter_mm(path, study),
        }
        lesions = [as_shown(lesion) for lesion in study.lesions if lesion.vessel == path.vessel.name]
        throats = [(lesion.throat_mm, lesion.minimal_lumen_diameter_mm) for lesion in lesions]
        chart = browse_nodes.show_chart_of(
            slicer.mrmlScene, path.vessel.name, columns, np.array(throats, dtype=np.float64).reshape(-1, 2)
        )
        review_views.show_chart(slicer.mrmlScene, chart)

    def _show_place(self) -> None:
        """Put all views where the slider stands."""
        import slicer

        path, scene = self._path, slicer.mrmlScene
        if path is None:
            return
        distance = self.distance_mm
        self._ui.readoutLabel.text = path.readout(distance)
        rotation, spin = float(self._ui.rotationSlider.value), float(self._ui.spinSlider.value)
        cross = self._in_world(path.cross_section(distance, spin, bool(self._ui.flipCheckBox.checked)))
        self._unwatch()
        review_views.place(scene, review_views.CROSS_SECTION, cross)
        review_views.place(scene, review_views.LONG_AXIS, self._in_world(path.long_axis(distance, rotation)))
        shown = bool(self._ui.contoursCheckBox.checked)
        lumen = path.lumen_contour(distance) if shown else None
        wall = path.wall_contour(distance) if shown else None
        browse_nodes.show_contours(scene, lumen, wall, self._session.volume_node)
        self._reformation.show_place(distance)
        highest = np.nanmax([*path.band_mm()[1], *path.profile.diameter_mm, 1.0])
        browse_nodes.show_chart_place(scene, distance, float(highest))
        self._watch()
        if self._parameters is not None:
            with slicer.util.NodeModify(self._parameters.parameterNode):
                self._parameters.vessel = path.vessel.name
                self._parameters.position = distance

    def _in_world(self, matrix: np.ndarray) -> np.ndarray:
        """Return a slice matrix where a transform of the volume moves it; one that bends is followed locally."""
        volume_node = self._session.volume_node
        if volume_node is None or volume_node.GetParentTransformNode() is None:
            return matrix
        world = np.eye(4)
        for column, point in enumerate((*(matrix[:3, 3] + matrix[:3, n] for n in range(3)), matrix[:3, 3])):
            moved = [0.0, 0.0, 0.0]
            volume_node.TransformPointToWorld(point.tolist(), moved)
            world[:3, column] = moved
        for column in range(3):
            direction = world[:3, column] - world[:3, 3]
            world[:3, column] = direction / np.linalg.norm(direction)
        return world

    # The wheel in the cross-section, and views that are sent away

    def _watch(self) -> None:
        import slicer
        import vtk

        self._unwatch()
        if self._path is None:
            return
        for name in (review_views.CROSS_SECTION, review_views.REFORMATION):
            node = review_views.view_node(slicer.mrmlScene, name)
            if node is not None:
                self._watched.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_view_moved)))

    def _unwatch(self) -> None:
        for node, tag in self._watched:
            node.RemoveObserver(tag)
        self._watched = []

    def _on_view_moved(self, _node: Any, _event: str) -> None:
        """Follow in a moment: a slice view that tells of its move ignores being placed until all have heard of it."""
        import qt

        if not self._following:
            self._following = True
            qt.QTimer.singleShot(0, self._follow)

    def _follow(self) -> None:
        import slicer

        self._following = False
        path = self._path
        if path is None:
            return
        cross, reformation = (
            review_views.view_node(slicer.mrmlScene, name)
            for name in (review_views.CROSS_SECTION, review_views.REFORMATION)
        )
        if cross is not None:
            self._follow_cross_section(path, review_views.placed(cross))
        # Slicer's Markups module sends all views to a place of the patient: this one goes back to its vessel.
        if reformation is not None and self._reformation.strayed(review_views.placed(reformation)):
            self._unwatch()
            self._show_reformation(path)
            self._watch()

    def _follow_cross_section(self, path: VesselPath, now: np.ndarray) -> None:
        """Go along the vessel as far as the cross-section was moved along its normal."""
        ours = self._in_world(
            path.cross_section(self.distance_mm, float(self._ui.spinSlider.value), bool(self._ui.flipCheckBox.checked))
        )
        if not np.allclose(now[:3, :3], ours[:3, :3], atol=1e-4):
            return  # turned by hand: the next step along the vessel turns it back
        moved = float((now[:3, 3] - ours[:3, 3]) @ ours[:3, 2])
        if abs(moved) > _NEAR_MM:
            back = -1.0 if self._ui.flipCheckBox.checked else 1.0
            self._move_to(float(np.clip(self.distance_mm + back * moved, 0.0, path.length_mm)))

    # What the user does

    def _on_vessel_chosen(self, _index: int) -> None:
        if not self._filling and self._ui.vesselComboBox.currentText:
            self._look_along(self._ui.vesselComboBox.currentText, 0.0)

    def _on_moved(self, _distance: float) -> None:
        if not self._filling:
            self._show_place()

    def _on_turned(self, *_value: Any) -> None:
        if self._path is not None:
            self._show_reformation(self._path)
            self._show_place()

    def _on_curved(self, _checked: bool) -> None:
        if self._path is not None:
            self._show_reformation(self._path)
            self._reformation.fit()
            self._show_place()

    def _on_jump(self, _checked: bool = False) -> None:
        if self._path is None:
            return
        distance = self._path.goal(GOALS[self._ui.jumpComboBox.currentIndex])
        if distance is not None:
            self._move_to(distance)
