"""The study that the panel shows and the review of it: every step goes through here, is kept in the scene, and can be
undone.

In: what the user does. Out: the study with all lesions (`study`), the study as it counts (`counted`), the review, and
the nodes of the scene brought up to date. Knows MRML through the scene room only, and no Qt.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..i18n import tr as _
from ..progress import ProgressCallback
from ..scene.nodes import Prepared
from ..study import LabelMap, Lesion, StudyResult
from ..writing.wording import stenosis_words
from . import review as steps
from .review import Review
from .vocabulary import step_words

ADDED_HALF_MM = 3.0
"""How far a lesion that a reader adds reaches to both sides of its throat, until its markers are moved."""

MOST_UNDO = 50
"""How many steps can be undone; each only holds what it changed."""


@dataclass(frozen=True, eq=False)
class _State:
    found: StudyResult
    review: Review
    label: str


class Session:
    """One study under review.

    Parameters
    ----------
    scene : returns the scene of the application.
    reader : returns the name of the reader, "" when none was given.
    on_change : called after every step, with whether the tree of vessels is another one.
    clock : returns the time as ISO 8601.
    """

    def __init__(
        self,
        scene: Callable[[], Any],
        reader: Callable[[], str],
        on_change: Callable[[bool], None],
        clock: Callable[[], str] = steps.now,
    ) -> None:
        self._scene = scene
        self._reader = reader
        self._on_change = on_change
        self._clock = clock
        self._past: list[_State] = []
        self._drawn_labels: Any = None
        self.volume_node: Any = None
        self.review = Review()
        self.found: StudyResult | None = None
        self.study: StudyResult | None = None
        self.counted: StudyResult | None = None

    # What is shown

    def open(self, volume_node: Any) -> None:
        """Show the result that the scene has of a volume node; nothing when it has none.

        Raises
        ------
        InputError : there is one that cannot be read; nothing is shown then.
        """
        from ..scene.nodes import record_texts
        from ..scene.reading import volume_of_node
        from ..scene.record import study_of_text

        texts = record_texts(self._scene(), volume_node) if volume_node is not None else None
        if volume_node is not None and volume_node is self.volume_node and self.found is not None and texts is not None:
            return
        self.close()
        if texts is not None:
            found = study_of_text(texts[0], volume_of_node(volume_node))
            self._show(found, steps.review_of_text(texts[1]), volume_node)

    def start(self, study: StudyResult, volume_node: Any, again: bool = False) -> None:
        """Show a new result of a volume node, whose nodes are in the scene already.

        With `again` it follows a correction: the steps before it stay on record.
        """
        review = Review()
        if again and volume_node is self.volume_node and self.found is not None:
            events = steps.changed(
                self.review, "measured again", "the study", *self._counts(study), self._reader(), self._clock()
            ).events
            review = Review(events=events)
        self.close()
        self._show(study, review, volume_node)
        self._write_review()

    def close(self) -> None:
        """Show nothing and forget everything."""
        self._past.clear()
        self.volume_node = self.found = self.study = self.counted = self._drawn_labels = None
        self.review = Review()

    def lesion(self, lesion_id: str) -> Lesion:
        """Return a lesion by id; KeyError when there is none."""
        for lesion in self.study.lesions if self.study is not None else ():
            if lesion.id == lesion_id:
                return lesion
        raise KeyError(lesion_id)

    # Steps

    def decide(self, lesion_id: str, state: str) -> None:
        """Accept or reject a lesion, or leave it open again."""
        self._step(steps.decided(self.review, lesion_id, state, self._reader(), self._clock()))

    def comment(self, lesion_id: str, comment: str) -> None:
        """Comment on a lesion."""
        self._step(steps.commented(self.review, lesion_id, comment.strip(), self._reader(), self._clock()))

    def measured_lesion(
        self,
        lesion_id: str,
        start_mm: float,
        throat_mm: float,
        end_mm: float,
        reference_mm: tuple[float, float] | None = None,
    ) -> Lesion:
        """Return a lesion measured again between other markers, without keeping it; see `remeasure_lesion`."""
        from ..stenosis import remeasure_lesion

        return remeasure_lesion(self._known(), lesion_id, start_mm, throat_mm, end_mm, reference_mm)

    def move_lesion(
        self,
        lesion_id: str,
        start_mm: float,
        throat_mm: float,
        end_mm: float,
        reference_mm: tuple[float, float] | None = None,
    ) -> None:
        """Measure a lesion again between other markers, in mm along its vessel."""
        before = self.lesion(lesion_id)
        lesion = self.measured_lesion(lesion_id, start_mm, throat_mm, end_mm, reference_mm)
        self._edit(lesion, "measured again", (stenosis_words(before), stenosis_words(lesion)))

    def add_lesion(self, vessel: str, distance_mm: float) -> str:
        """Add a lesion with its throat at a distance along a vessel; returns its id."""
        from ..stenosis import add_lesion

        study = self._known()
        length = study.tree.vessel(vessel).length_mm
        start, end = max(distance_mm - ADDED_HALF_MM, 0.0), min(distance_mm + ADDED_HALF_MM, length)
        lesion = add_lesion(study, vessel, start, distance_mm, end)
        self._edit(lesion, "added", ("", f"{vessel} {distance_mm:.1f} mm, {stenosis_words(lesion)}"))
        return lesion.id

    def rename(self, name: str, new_name: str) -> None:
        """Rename a vessel; what is named after it follows."""
        from ..editing import rename_branch
        from ..scene.nodes import find_by_role
        from ..scene.updating import rename_segments
        from .reviewed import settled, surviving

        before = settled(self._found(), self.review)
        found = rename_branch(before, name, new_name)
        if found is before or found.tree is before.tree:
            return
        names = {old.name: new.name for old, new in zip(before.tree.vessels, found.tree.vessels, strict=True)}
        for node in find_by_role(self._scene(), self.volume_node, "segmentation"):
            rename_segments(node, names)
        review = steps.changed(
            surviving(self.review, found), "renamed", name, "", new_name.strip(), self._reader(), self._clock()
        )
        self._step(review, found)

    def course_work(self, vessel: str, points_ras: np.ndarray) -> Callable[[ProgressCallback], StudyResult]:
        """Return the work that measures a vessel along another course; `take_course` takes its result."""
        from ..editing import replace_branch
        from ..progress import stage_report
        from .reviewed import settled

        before = settled(self._found(), self.review)

        def work(progress: ProgressCallback) -> StudyResult:
            return replace_branch(before, vessel, points_ras, stage_report(progress, "lumen", 0.0, 1.0))

        return work

    def take_course(self, found: StudyResult, vessel: str, prepared: Prepared | None = None) -> None:
        """Keep the study in which a vessel has another course; `prepared` as in `build_scene`."""
        from .reviewed import surviving

        before, after = (study.tree.vessel(vessel).length_mm for study in (self._known(), found))
        review = steps.changed(
            surviving(self.review, found),
            "corrected the course of",
            vessel,
            f"{before:.1f} mm",
            f"{after:.1f} mm",
            self._reader(),
            self._clock(),
        )
        self._step(review, found, prepared)

    def segmentation_work(self, label_map: LabelMap) -> Callable[[ProgressCallback], StudyResult]:
        """Return the work that measures a corrected segmentation; `take_segmentation` takes its result."""
        from ..editing import corrected_segmentation, replace_segmentation
        from ..progress import stage_report
        from .reviewed import settled

        before = settled(self._found(), self.review)

        def work(progress: ProgressCallback) -> StudyResult:
            report = stage_report(progress, "lumen", 0.0, 1.0)
            return replace_segmentation(before, corrected_segmentation(before, label_map), report)

        return work

    def take_segmentation(self, found: StudyResult, prepared: Prepared | None = None) -> None:
        """Keep the study of a corrected segmentation; opinions on lesions of unchanged vessels stand."""
        from .reviewed import surviving

        counts = self._counts(found)
        review = steps.changed(
            surviving(self.review, found), "measured again", "the study", *counts, self._reader(), self._clock()
        )
        self._step(review, found, prepared)

    def sign(self) -> None:
        """Sign the study as reviewed.

        Raises
        ------
        InputError : no reader was named.
        """
        self._step(steps.signed(self.review, self._reader().strip(), self._clock()))

    @property
    def undo_label(self) -> str:
        """What `undo` would take back; empty when there is nothing."""
        return step_words(self._past[-1].label) if self._past else ""

    def undo(self) -> None:
        """Take the last step back; that it was taken stays on record."""
        if not self._past:
            return
        state = self._past.pop()
        before = self.found
        undone = steps.changed(state.review, "took back", state.label, "", "", self._reader(), self._clock())
        # Steps only ever add to the record, and so does taking one back.
        events = (*self.review.events, undone.events[-1])
        self._set(state.found, replace(state.review, events=events))
        if before is not None and before is not state.found:
            self._rename_back(before, state.found)
        self._write(tree_changed=before is not state.found)
        self._on_change(before is not state.found)

    # Inside

    def _known(self) -> StudyResult:
        if self.study is None:
            raise InputError(_("there is no result to review: press Apply first"))
        return self.study

    def _found(self) -> StudyResult:
        self._known()
        assert self.found is not None
        return self.found

    def _edit(self, lesion: Lesion, action: str, change: tuple[str, str]) -> None:
        original = next((one for one in self._found().lesions if one.id == lesion.id), None)
        self._step(steps.edited(self.review, original, lesion, action, change, self._reader(), self._clock()))

    def _step(self, review: Review, found: StudyResult | None = None, prepared: Prepared | None = None) -> None:
        if self.found is None:
            raise InputError(_("there is no result to review: press Apply first"))
        found_before, step = self._found(), review.events[-1]
        self._past.append(_State(found_before, self.review, f"{step.action} {step.subject}"))
        del self._past[:-MOST_UNDO]
        tree_changed = found is not None
        self._set(found if found is not None else found_before, review)
        self._write(tree_changed, prepared)
        self._on_change(tree_changed)

    def _show(self, found: StudyResult, review: Review, volume_node: Any) -> None:
        self.volume_node = volume_node
        self._drawn_labels = found.labels.labels
        self._set(found, review)

    def _set(self, found: StudyResult, review: Review) -> None:
        from .reviewed import counted_study, shown_study

        self.found, self.review = found, review
        self.study = shown_study(found, review)
        self.counted = counted_study(found, review)

    def _rename_back(self, now: StudyResult, then: StudyResult) -> None:
        """Give the segments the names they had, where only names had changed."""
        from ..scene.nodes import find_by_role
        from ..scene.updating import rename_segments

        if now.labels.labels is then.labels.labels:
            names = {now.labels.names[value]: name for value, name in then.labels.names.items()}
            for node in find_by_role(self._scene(), self.volume_node, "segmentation"):
                rename_segments(node, names)

    def _write(self, tree_changed: bool, prepared: Prepared | None = None) -> None:
        from ..scene.nodes import find_by_role
        from ..scene.record_nodes import RECORD_ROLE
        from ..scene.updating import update_lesion_nodes

        assert self.study is not None and self.counted is not None
        # Who deleted the results and goes on reviewing gets them back: a review without its study could not be opened.
        if tree_changed or not find_by_role(self._scene(), self.volume_node, RECORD_ROLE):
            self._rebuild(prepared)
        update_lesion_nodes(self._scene(), self.volume_node, self.study, self.counted, self.review.rejected)
        self._write_review()

    def _rebuild(self, prepared: Prepared | None) -> None:
        """Make the nodes anew; the segmentation only when its voxels are others than before."""
        from ..scene.nodes import build_scene, find_by_role

        assert self.found is not None
        nodes = find_by_role(self._scene(), self.volume_node, "segmentation")
        same = self._drawn_labels is self.found.labels.labels
        build_scene(self.found, self._scene(), self.volume_node, nodes[0] if nodes and same else None, prepared)
        self._drawn_labels = self.found.labels.labels

    def _write_review(self) -> None:
        from ..scene.nodes import write_record
        from ..scene.record_nodes import REVIEW_ROLE

        if self.review != Review():
            write_record(self._scene(), self.volume_node, REVIEW_ROLE, steps.text_of_review(self.review))

    def _counts(self, study: StudyResult) -> tuple[str, str]:
        before = len(self.counted.lesions) if self.counted is not None else 0
        text = _("{count} lesions")
        return text.format(count=before), text.format(count=len(study.lesions))
