"""Texts in the language of the application, for code that must also run without Slicer.

`from .i18n import tr as _` stands for Slicer's `from slicer.i18n import tr as _`: the context is the file that calls,
as Slicer's tools for translators expect it. Without Slicer a text stays as it is.
"""

import string
import sys


def tr(text: str) -> str:
    """Return a text in the language of the application, in the context of the file that calls."""
    slicer_i18n = sys.modules.get("slicer.i18n")  # always loaded in Slicer, and never loaded here
    if slicer_i18n is None:
        return text
    return translate(slicer_i18n.getContext(sys._getframe(1).f_code.co_filename), text)


def translate(context: str, text: str) -> str:
    """Return a text in the language of the application; one whose placeholders got lost stays as it is."""
    slicer_i18n = sys.modules.get("slicer.i18n")
    if slicer_i18n is None:
        return text
    translated = str(slicer_i18n.translate(context, text))
    return translated if _placeholders(translated) == _placeholders(text) else text


def _placeholders(text: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:  # a brace of its own, not one of a placeholder
        return set()
