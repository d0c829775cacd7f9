"""The fixed words of a result in the language of the application.

In: words of the library, which are the same in every report. Out: what the panel shows. Here they stand once more so
that translators find them; `Testing/test_translation.py` compares them with the tables of the library.
"""

import functools

from ..i18n import tr as _
from ..i18n import translate
from .messages import translated_message

OTHER_CONTEXT = "StenosisDetectionLib.wording"
"""Context of texts that are none of the templates, such as the messages of progress: translated as they are."""


def word(text: str) -> str:
    """Return a word in the language of the application; one that is not known stays as it is."""
    return _words().get(text, text)


def step_words(step: str) -> str:
    """Return a step of the review, an action and what it was done to (`rejected L2`), in the language of the
    application; a subject alone does as well."""
    parts = step.split(" ")
    for count in range(len(parts) - 1, 0, -1):
        action = " ".join(parts[:count])
        if action in _words():
            return f"{word(action)} {word(' '.join(parts[count:]))}"
    return word(step)


def sentence(text: str) -> str:
    """Return a sentence of the library, with or without the vessel it is about, in the language of the application."""
    vessel, colon, rest = text.partition(": ")
    about = translated_message(rest) if colon and " " not in vessel else None
    if about is not None:
        return f"{vessel}: {about}"
    known = translated_message(text)
    return translate(OTHER_CONTEXT, text) if known is None else known


def error_sentence(line: str) -> str:
    """Return the line of an error in the language of the application; what the panel itself raised is so already."""
    known = translated_message(line)
    return line if known is None else known


@functools.cache
def _words() -> dict[str, str]:
    return {
        "none": _("none"),
        "minimal": _("minimal"),
        "mild": _("mild"),
        "moderate": _("moderate"),
        "severe": _("severe"),
        "occluded": _("occluded"),
        "calcified": _("calcified"),
        "noncalcified": _("noncalcified"),
        "mixed": _("mixed"),
        "unknown": _("unknown"),
        "aorta": _("aorta"),
        "segmentation": _("segmentation"),
        "centerline": _("centerline"),
        "lumen": _("lumen"),
        "stenosis": _("stenosis"),
        "download": _("download"),
        "report": _("report"),
        "export": _("export"),
        "no plaque and no stenosis": _("no plaque and no stenosis"),
        "minimal stenosis (1-24 %) or plaque without stenosis": _(
            "minimal stenosis (1-24 %) or plaque without stenosis"
        ),
        "mild stenosis (25-49 %)": _("mild stenosis (25-49 %)"),
        "moderate stenosis (50-69 %)": _("moderate stenosis (50-69 %)"),
        "severe stenosis (70-99 %) in one or two vessels": _("severe stenosis (70-99 %) in one or two vessels"),
        "left main stenosis of 50 % or more, or severe stenosis in three vessels": _(
            "left main stenosis of 50 % or more, or severe stenosis in three vessels"
        ),
        "total occlusion": _("total occlusion"),
        "not diagnostic: obstructive disease cannot be excluded": _(
            "not diagnostic: obstructive disease cannot be excluded"
        ),
        "left open": _("left open"),
        "accepted": _("accepted"),
        "rejected": _("rejected"),
        "commented on": _("commented on"),
        "measured again": _("measured again"),
        "added": _("added"),
        "renamed": _("renamed"),
        "corrected the course of": _("corrected the course of"),
        "signed": _("signed"),
        "took back": _("took back"),
        "the study": _("the study"),
        "unnamed reader": _("unnamed reader"),
        "contrast agent by its name": _("contrast agent by its name"),
        "cardiac by its name": _("cardiac by its name"),
        "cardiac field of view": _("cardiac field of view"),
        "the only candidate": _("the only candidate"),
    }
