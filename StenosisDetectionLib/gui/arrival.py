"""What the background makes of a new result, so that the window need not wait for it when the result arrives.

In: a `StudyResult`. Out: an `Arrival`. Touches neither Qt nor the scene.
"""

from dataclasses import dataclass

from ..scene.nodes import Prepared, prepare
from ..study import Lesion, StudyResult
from .reformation_view import Stacks, straightened_vessels
from .texts import worst_lesion


@dataclass(frozen=True, eq=False)
class Arrival:
    """A result and what is shown of it first.

    Parameters
    ----------
    prepared : what the nodes of the scene are made of.
    worst : the lesion that is gone to; None when there is none.
    views : the straightened vessel with that lesion, or the first vessel.
    """

    study: StudyResult
    prepared: Prepared
    worst: Lesion | None
    views: Stacks


def arrival_of(study: StudyResult) -> Arrival:
    """Prepare a result to be shown."""
    name = worst_lesion(study)
    worst = next((lesion for lesion in study.lesions if lesion.id == name), None)
    vessels = [vessel for vessel in study.tree.vessels if worst is None or vessel.name == worst.vessel][:1]
    return Arrival(study, prepare(study), worst, straightened_vessels(study.volume, vessels))
