"""Every text that a user sees can be translated: no prose in the panel's code outside of the translating functions, and
a panel whose translator marks what it was given shows no text without a mark."""

import ast
import dataclasses
import importlib.util
import re
import sys
import types

import pytest
from conftest import REPOSITORY
from library_messages import library_messages
from panel_fixtures import MODULE, add_volume, finish, needs_stand_in, start
from studies import small_study

from StenosisDetectionLib import i18n
from StenosisDetectionLib.errors import InputError
from StenosisDetectionLib.gui import messages, vocabulary
from StenosisDetectionLib.pipeline import _STAGES
from StenosisDetectionLib.stenosis.cad_rads import CATEGORY_TEXT
from StenosisDetectionLib.stenosis.grades import GRADES
from StenosisDetectionLib.stenosis.hidden import INTERVAL_ONLY

TRANSLATING = {"_", "tr", "translate", "word", "sentence"}
NOT_SHOWN = {"warning", "error", "info", "debug", "GetFirstNodeByName", "stage_report"}
"""Calls whose texts go to the log or into code, not to a user's eyes."""

PROSE = re.compile(r"[A-Za-z]{2,}[,;:]? [a-z%]{1,}|[A-Z][a-z]{2,} [A-Za-z]")

CODE = [
    path
    for path in sorted((REPOSITORY / "StenosisDetectionLib" / "gui").glob("*.py"))
    if path.name not in ("self_test.py", "__init__.py")
]


def _docstrings(tree):
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            for part in body:
                if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                    yield part.value


def _called(node):
    function = node.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def untranslated(source):
    """Yield line and text of every prose literal that is not handed to a translating function."""
    tree = ast.parse(source)
    passed = set(_docstrings(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in TRANSLATING | NOT_SHOWN:
            passed.update(part for argument in (*node.args, *node.keywords) for part in ast.walk(argument))
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and node not in passed else None
        if isinstance(text, str) and PROSE.search(text):
            yield node.lineno, text


def test_the_search_finds_what_it_should():
    found = list(
        untranslated(
            '"""A docstring is fine."""\n'
            'label.text = "Press the button"\n'
            'label.text = _("Press the other button")\n'
            'label.text = f"{count} lesions on {vessels}"\n'
            'raise InputError("choose a volume")\n'
            'logging.warning("only in the log")\n'
            'widget.connect("clicked(bool)", f)\n'
        )
    )
    assert [line for line, _ in found] == [2, 4, 5]


@pytest.mark.parametrize("path", [*CODE, MODULE], ids=lambda path: path.stem)
def test_no_prose_escapes_the_translator(path):
    if path.stem == "messages":  # all of it, see below
        return
    # The words of DICOM series are looked for, not shown; keys of the vocabulary stand beside their translation.
    if path.stem == "vocabulary":
        assert all(text == key for key, text in vocabulary._words().items())
        return
    left = [text for _, text in untranslated(path.read_text(encoding="utf-8")) if text not in vocabulary._words()]
    assert left == ["StenosisDetection developers"] * (path == MODULE)


def test_the_vocabulary_has_the_words_of_the_library():
    words = set(vocabulary._words())
    assert words >= {grade.name for grade in GRADES}
    assert words >= set(CATEGORY_TEXT.values())
    assert words >= set(_STAGES)
    assert words >= {"calcified", "noncalcified", "mixed", "unknown"}


def test_the_templates_are_those_of_the_library():
    left = "run python Testing/library_messages.py"
    assert sorted(messages._templates(str)) == library_messages(), left


def test_a_sentence_of_the_library_is_recognized_with_its_numbers(marking, monkeypatch):
    marking()
    template = (
        "weak contrast: aortic blood has {aorta_hu} HU, below {value} HU; small vessels and soft plaque are uncertain"
    )
    german = "schwacher Kontrast: Aorta {aorta_hu} HU, unter {value} HU"
    known = {template: german, "at the ostium": "am Ostium"}
    monkeypatch.setattr(sys.modules["slicer.i18n"], "translate", lambda context, text: known.get(text, text))
    line = template.format(aorta_hu="231", value="250")
    assert vocabulary.sentence(line) == "schwacher Kontrast: Aorta 231 HU, unter 250 HU"
    assert vocabulary.error_sentence(line) == vocabulary.sentence(line)
    assert vocabulary.sentence("LAD: at the ostium") == "LAD: am Ostium"
    assert vocabulary.error_sentence("nothing of the library") == "nothing of the library"


def test_every_template_recognizes_itself_and_nothing_shorter():
    for pattern, template in messages._patterns():
        filled = template.format(**dict.fromkeys(pattern.groupindex, "7"))
        shape, found = next((shape, each) for shape, each in messages._patterns() if shape.fullmatch(filled))
        # Two places may say the same with other names for their numbers.
        assert found.format(**dict.fromkeys(shape.groupindex, "7")) == filled


def test_titles_and_descriptions_of_columns_are_translated_and_their_names_are_not(marking):
    marking()
    tables = {"rows": ("LESION_COLUMNS", "VESSEL_COLUMNS")}
    tables |= {"scene.tables": ("PROFILE_COLUMNS",), "scene.calcium_table": ("CALCIUM_COLUMNS",)}
    for room, names in tables.items():
        specification = importlib.util.find_spec(f"StenosisDetectionLib.{room}")
        module = importlib.util.module_from_spec(specification)  # another one, as Slicer loads it in its language
        specification.loader.exec_module(module)
        for column in (column for name in names for column in getattr(module, name)):
            assert re.fullmatch("«.+»", column.title), column.name
            assert re.fullmatch("«.+»", column.description), column.name
            assert re.fullmatch(r"\w+", column.name)


def test_what_the_markups_module_lists_of_a_lesion_is_translated(marking):
    curves = pytest.importorskip("StenosisDetectionLib.scene.curves")
    given = marking()
    lesion = small_study().lesions[0]
    text = curves._describe(lesion)
    assert text.startswith("««moderate», diameter stenosis ")
    assert text.endswith(f"plaque «{lesion.plaque.type}»»")
    assert not PROSE.search(re.sub("«.*»", "", text))
    # Where the vocabulary of the panel has them, so that translators find each word once.
    assert (curves.WORDS_CONTEXT, "moderate") in given
    assert vocabulary.__name__.endswith(curves.WORDS_CONTEXT)
    hidden = curves._describe(dataclasses.replace(lesion, flags=(INTERVAL_ONLY,)))
    assert "calcium hides the lumen" in hidden
    assert f"{lesion.minimal_lumen_diameter_mm:.2f}" not in hidden


@pytest.fixture
def marking(monkeypatch):
    """A translator that puts marks around what it is given."""
    given = []

    def translate(context, text):
        given.append((context, text))
        return f"«{text}»"

    def install():
        module = sys.modules.get("slicer.i18n") or types.ModuleType("slicer.i18n")
        monkeypatch.setattr(module, "translate", translate, raising=False)
        monkeypatch.setattr(module, "getContext", lambda path: "context of " + path.rpartition("/")[2], raising=False)
        monkeypatch.setitem(sys.modules, "slicer.i18n", module)
        vocabulary._words.cache_clear()
        return given

    yield install
    vocabulary._words.cache_clear()


def test_the_context_is_the_file_that_calls(marking):
    given = marking()
    assert i18n.tr("text {number}") == "«text {number}»"
    assert given == [("context of test_translation.py", "text {number}")]


def test_a_translation_that_lost_its_placeholders_is_not_used(marking, monkeypatch):
    marking()
    monkeypatch.setattr(sys.modules["slicer.i18n"], "translate", lambda context, text: "texte {nombre}")
    assert i18n.tr("text {number}") == "text {number}"


def test_without_slicer_a_text_is_itself(monkeypatch):
    monkeypatch.delitem(sys.modules, "slicer.i18n", raising=False)
    assert i18n.tr("text") == "text"
    assert vocabulary.sentence("text") == "text"


def test_a_step_of_the_review_is_translated_part_by_part(marking):
    marking()
    assert vocabulary.step_words("rejected L2") == "«rejected» L2"
    assert vocabulary.step_words("corrected the course of LAD") == "«corrected the course of» LAD"
    assert vocabulary.step_words("signed the study") == "«signed» «the study»"
    assert vocabulary.step_words("L2") == "L2"


class TestPanel:
    """The panel under the marking translator."""

    pytestmark = needs_stand_in

    def test_an_error_of_the_library_is_translated(self, widget, marking):
        marking()
        line = "the pixels are 1.2 mm wide, above 1.0 mm: diameters are uncertain"
        widget.panel.run.show_error(InputError(line))
        assert widget.ui.statusLabel.text == f"«{line}»"

    def test_every_text_is_translated(self, widget, pipeline, marking):
        marking()
        ui = widget.ui
        widget.panel.choices.refresh()
        ui.inputVolumeSelector.setCurrentNode(add_volume())
        start(widget, pipeline)
        assert ui.stageLabel.text == "«segmentation»: «filtering»"
        finish(widget, pipeline)
        ui.acceptButton.click()
        labels = (
            "environmentLabel", "modelDescriptionLabel", "statusLabel", "cadRadsLabel", "summaryLabel",
            "warningsLabel", "readoutLabel", "chosenLesionLabel", "reviewLabel", "undoButton",
        )  # fmt: skip
        for name in labels:
            assert "«" in getattr(ui, name).text, (name, getattr(ui, name).text)
            # Between marks only values stand: numbers, names, units.
            outside = re.sub(r"«[^«]*»", "", getattr(ui, name).text)
            assert not PROSE.search(outside), (name, outside)
        assert "«" in ui.applyButton.toolTip
        assert ui.lesionTable.item(0, 1).text() == "«moderate»"
        assert "«accepted»" in ui.historyText.plainText
        assert small_study().lesions[0].grade == "moderate"  # what is saved and reported stays English
        assert widget.panel.session.review.events[0].action == "accepted"
