"""The review of a study: what readers decided and changed, who and when; plain data without Qt and Slicer.

In: decisions and changes. Out: an immutable `Review` that can be saved with the scene as text, and what the panel says
of it. A signature holds until anything is changed after it.
"""

import json
import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ..errors import InputError
from ..i18n import tr as _
from ..scene.record import plain, restored
from ..study import Lesion, Plaque
from .vocabulary import step_words, word

FORMAT = "stenosis-detection/review/1"
UNDECIDED, ACCEPTED, REJECTED = "", "accepted", "rejected"
NOBODY = "unnamed reader"
"""Stands for the reader who has not given a name."""


@dataclass(frozen=True)
class Opinion:
    """What a reader thinks of one lesion.

    Parameters
    ----------
    state : UNDECIDED, ACCEPTED or REJECTED.
    comment : the reader's words.
    by, at : who decided, and when (ISO 8601).
    before : the lesion as the software found it, when a reader measured it again; None else.
    after : the lesion as the reader measured or added it; None when it is as it was found.
    """

    state: str = UNDECIDED
    comment: str = ""
    by: str = ""
    at: str = ""
    before: Lesion | None = None
    after: Lesion | None = None

    @property
    def edited(self) -> bool:
        """Whether a reader measured the lesion again or added it."""
        return self.after is not None


@dataclass(frozen=True)
class Event:
    """One step of the review: when (ISO 8601, UTC), who, what, on what, and what it was before and after."""

    at: str
    by: str
    action: str
    subject: str
    before: str = ""
    after: str = ""

    @property
    def line(self) -> str:
        """The step in one line for people."""
        change = f": {self.before} → {self.after}" if self.before else (f": {self.after}" if self.after else "")
        what = f"{word(self.action)} {step_words(self.subject)}{change}"
        return f"{self.at[:16].replace('T', ' ')} UTC  {word(self.by)}  {what}".rstrip()


@dataclass(frozen=True)
class Review:
    """The opinions by lesion id, the steps in their order, and who signed when; None while nobody has."""

    opinions: dict[str, Opinion] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    signed: tuple[str, str] | None = None

    def opinion(self, lesion_id: str) -> Opinion:
        """Return the opinion on a lesion, an empty one where there is none yet."""
        return self.opinions.get(lesion_id, Opinion())

    @property
    def rejected(self) -> frozenset[str]:
        """The ids of the lesions that do not count."""
        return frozenset(name for name, opinion in self.opinions.items() if opinion.state == REJECTED)


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def decided(review: Review, lesion_id: str, state: str, by: str, at: str) -> Review:
    """Return the review with a lesion accepted, rejected or undecided again."""
    before = review.opinion(lesion_id)
    words = {UNDECIDED: "left open", ACCEPTED: "accepted", REJECTED: "rejected"}
    opinion = replace(before, state=state, by=by, at=at)
    return _with(review, lesion_id, opinion, Event(at, by or NOBODY, words[state], lesion_id))


def commented(review: Review, lesion_id: str, comment: str, by: str, at: str) -> Review:
    """Return the review with a comment on a lesion."""
    before = review.opinion(lesion_id)
    event = Event(at, by or NOBODY, "commented on", lesion_id, before.comment, comment)
    return _with(review, lesion_id, replace(before, comment=comment, by=by, at=at), event)


def edited(
    review: Review, found: Lesion | None, lesion: Lesion, action: str, change: tuple[str, str], by: str, at: str
) -> Review:
    """Return the review with a lesion that a reader measured again or added, which that reader so accepts.

    Parameters
    ----------
    found : the lesion as the software found it; None when the reader added it.
    change : what it was before and after, in words.
    """
    opinion = replace(review.opinion(lesion.id), state=ACCEPTED, by=by, at=at, before=found, after=lesion)
    return _with(review, lesion.id, opinion, Event(at, by or NOBODY, action, lesion.id, *change))


def changed(review: Review, action: str, subject: str, before: str, after: str, by: str, at: str) -> Review:
    """Return the review with a step that concerns no single lesion; it ends a signature."""
    event = Event(at, by or NOBODY, action, subject, before, after)
    return replace(review, events=(*review.events, event), signed=None)


def signed(review: Review, by: str, at: str) -> Review:
    """Return the review signed.

    Raises
    ------
    InputError : no name was given.
    """
    if not by.strip():
        raise InputError(_("a signature needs a name: enter your name or initials as reader first"))
    event = Event(at, by, "signed", "the study")
    return replace(review, events=(*review.events, event), signed=(by, at))


def text_of_review(review: Review) -> str:
    """Return a review as one line of JSON, for the scene."""
    return json.dumps({"format": FORMAT, "review": plain(review)}, separators=(",", ":"))


def review_of_text(text: str) -> Review:
    """Return the review of a text of `text_of_review`; an empty one of an empty text.

    Raises
    ------
    InputError : the text is none of a review.
    """
    if not text:
        return Review()
    types = {kind.__name__: kind for kind in (Review, Opinion, Event, Lesion, Plaque)}
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise KeyError("format")
        review = restored(content["review"], types)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise _unreadable() from error
    if not isinstance(review, Review):
        raise _unreadable()
    return review


def review_line(review: Review, lesion_ids: tuple[str, ...]) -> str:
    """Return how far the review is, in one line."""
    if review.signed is not None:
        at = review.signed[1][:16].replace("T", " ")
        return _("Signed by {name}, {time} UTC.").format(name=review.signed[0], time=at)
    states = [review.opinion(name).state for name in lesion_ids]
    if not states:
        return _("Not signed; no lesions to decide on.")
    text = (
        _("Not signed: of {count} lesion {accepted} accepted, {rejected} rejected, {open} open.")
        if len(states) == 1
        else _("Not signed: of {count} lesions {accepted} accepted, {rejected} rejected, {open} open.")
    )
    return text.format(
        count=len(states),
        accepted=states.count(ACCEPTED),
        rejected=states.count(REJECTED),
        open=states.count(UNDECIDED),
    )


def _unreadable() -> InputError:
    return InputError(_("the review in this scene cannot be read: it was made by another version"))


def _with(review: Review, lesion_id: str, opinion: Opinion, event: Event) -> Review:
    return replace(
        review, opinions={**review.opinions, lesion_id: opinion}, events=(*review.events, event), signed=None
    )
