"""The sentences of the library that a user of the panel may meet, for the translators.

    python Testing/library_messages.py      # writes StenosisDetectionLib/gui/messages.py anew

The library speaks English, with numbers filled in. Here its errors, warnings and flags are collected from its source as
templates; the panel recognizes a sentence by its template and translates that. `test_translation.py` fails when the
file is out of date.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
LIBRARY = HOME / "StenosisDetectionLib"
TARGET = LIBRARY / "gui" / "messages.py"

ROOMS = (
    "calcium.py", "centerline", "devices.py", "editing.py", "lumen", "models/download.py", "models/network.py",
    "models/registry.py", "models/weights.py", "options.py", "pipeline.py", "reading/checks.py", "scene/reading.py",
    "scene/record.py", "segmentation", "stenosis", "writing/case.py",
    "writing/page.py",
)  # fmt: skip
"""Where they are; files, the registry of own models and the command line are met outside of the panel."""

SENTENCE = re.compile(r"(?:[A-Za-z][a-z]*[,;:]? ){2,}[A-Za-z0-9]")
"""At least this much of a template must be words, or it would fit everything."""

DOCSTRING = "Return all templates, where tools for translators find them."
START = "def _templates("
"""What follows this in the file is made here; what stands before it is written by hand."""


def library_messages():
    """Return the templates, sorted."""
    from StenosisDetectionLib.writing.wording import FLAGS

    found = set(FLAGS.values())
    for room in ROOMS:
        path = LIBRARY / room
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            found.update(_sentences(ast.parse(file.read_text(encoding="utf-8"))))
    return sorted(found)


def _sentences(tree):
    passed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # a docstring
            passed.update(ast.walk(node.value)) if isinstance(node.value, ast.Constant) else None
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "report":
            passed.update(part for argument in node.args for part in ast.walk(argument))
        if isinstance(node, ast.JoinedStr):
            passed.update(part for part in ast.walk(node) if part is not node)
    for node in ast.walk(tree):
        if node in passed:
            continue
        template = _template(node)
        if template and SENTENCE.search(re.sub(r"{\w+}", "", template)):
            yield template


def _template(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("{", "{{").replace("}", "}}")
    if not isinstance(node, ast.JoinedStr):
        return None
    names, text = set(), ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += part.value.replace("{", "{{").replace("}", "}}")
            continue
        words = re.findall(r"[a-z_]{2,}", ast.unparse(part.value).replace("self.", "")) or ["value"]
        name = base = words[0].strip("_") or "value"
        number = 1
        while name in names:
            number += 1
            name = f"{base}{number}"
        names.add(name)
        text += "{" + name + "}"
    return text


def source():
    """Return the text of gui/messages.py before it is formatted."""
    before = TARGET.read_text(encoding="utf-8").partition(START)[0]
    lines = [f"        _({_literal(text)}),\n" for text in library_messages()]
    head = f'{START}_: Callable[[str], str]) -> tuple[str, ...]:\n    """{DOCSTRING}"""\n    return (\n'
    return before + head + "".join(lines) + "    )\n"


def _literal(text, width=100):
    parts = [""]
    for piece in re.findall(r"\S+\s*", text):
        if len(parts[-1]) + len(piece) > width:
            parts.append("")
        parts[-1] += piece
    return " ".join(_quoted(part) for part in parts)


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    sys.path.insert(0, str(HOME))
    TARGET.write_text(source(), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(TARGET)], check=True)
