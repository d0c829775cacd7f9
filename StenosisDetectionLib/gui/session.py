"""The study that the panel shows and the review of it: every step goes through here, is kept in the scene, and can be
undone.

In: what the user does. Out: the study with all lesions (`study`), the study as it counts (`counted`), the review, and
the nodes of the scene brought up to date. Knows MRML through the scene room only, and no Qt.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from ..study import Lesion, StudyResult
from . import review as steps
from .review import Review

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
        from ..scene.record import StudyRecorder

        self._scene = scene
        self._reader = reader
        self._on_change = on_change
        self._clock = clock
        self._recorder = StudyRecorder()
        self._past: list[_State] = []
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
        from ..scene.record import StudyRecorder

        self._past.clear()
        self._recorder = StudyRecorder()
        self.volume_node = self.found = self.study = self.counted = None
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
        return self._past[-1].label if self._past else ""

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
        self._write(tree_changed=before is not state.found)
        self._on_change(before is not state.found)

    # Inside

    def _step(self, review: Review, found: StudyResult | None = None) -> None:
        if self.found is None:
            raise InputError("there is no result to review: press Apply first")
        step = review.events[-1]
        self._past.append(_State(self.found, self.review, f"{step.action} {step.subject}"))
        del self._past[:-MOST_UNDO]
        tree_changed = found is not None
        self._set(found if found is not None else self.found, review)
        self._write(tree_changed)
        self._on_change(tree_changed)

    def _show(self, found: StudyResult, review: Review, volume_node: Any) -> None:
        self.volume_node = volume_node
        self._set(found, review)

    def _set(self, found: StudyResult, review: Review) -> None:
        from .reviewed import counted_study, shown_study

        self.found, self.review = found, review
        self.study = shown_study(found, review)
        self.counted = counted_study(found, review)

    def _write(self, tree_changed: bool) -> None:
        from ..scene.updating import update_lesion_nodes

        assert self.study is not None and self.counted is not None
        if tree_changed:
            self._rebuild()
        update_lesion_nodes(self._scene(), self.volume_node, self.study, self.counted, self.review.rejected)
        self._write_review()

    def _rebuild(self) -> None:
        from ..scene.nodes import build_scene, find_by_role

        assert self.found is not None
        segmentations = find_by_role(self._scene(), self.volume_node, "segmentation")
        build_scene(self.found, self._scene(), self.volume_node, segmentations[0] if segmentations else None)

    def _write_review(self) -> None:
        from ..scene.nodes import write_record
        from ..scene.record_nodes import REVIEW_ROLE

        if self.review != Review():
            write_record(self._scene(), self.volume_node, REVIEW_ROLE, steps.text_of_review(self.review))

    def _counts(self, study: StudyResult) -> tuple[str, str]:
        before = len(self.counted.lesions) if self.counted is not None else 0
        return f"{before} lesions", f"{len(study.lesions)} lesions"
