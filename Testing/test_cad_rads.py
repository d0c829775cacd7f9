"""Every line of the CAD-RADS 2.0 table, against the published categories (Cury 2022)."""

from itertools import product

import pytest

from StenosisDetectionLib.stenosis import cad_rads, grade_of, plaque_burden
from StenosisDetectionLib.stenosis.cad_rads import CATEGORIES, CATEGORY_TEXT, MODIFIERS, in_order_of_print


@pytest.mark.parametrize(
    ("percent", "grade"),
    [
        (0, "none"), (0.9, "none"), (1, "minimal"), (24.9, "minimal"), (25, "mild"), (49.9, "mild"), (50, "moderate"),
        (69.9, "moderate"), (70, "severe"), (99.9, "severe"), (100, "occluded"),
    ],
)  # fmt: skip
def test_grade_is_decided_on_the_unrounded_stenosis(percent: float, grade: str) -> None:
    assert grade_of(percent) == grade


@pytest.mark.parametrize(
    ("stenosis", "options", "category"),
    [
        ({}, {}, "0"),
        ({"LAD": 0.4}, {}, "0"),
        ({}, {"plaque": True}, "1"),
        ({"LAD": 0.0}, {"plaque": True}, "1"),
        ({"LAD": 1.0}, {}, "1"),
        ({"RCA": 24.9}, {}, "1"),
        ({"LCX": 25.0}, {}, "2"),
        ({"LM": 49.9}, {}, "2"),
        ({"LAD": 49.9, "RCA": 30}, {}, "2"),
        ({"LAD": 50.0}, {}, "3"),
        ({"LAD": 69.9, "LCX": 69.9, "RCA": 69.9}, {}, "3"),
        ({"LAD": 70.0}, {}, "4A"),
        ({"LAD": 99.0, "RCA": 75}, {}, "4A"),
        ({"LAD": 80, "LCX": 70, "RCA": 69.9}, {}, "4A"),
        ({"LM": 50.0}, {}, "4B"),
        ({"LM": 55, "LAD": 10}, {}, "4B"),
        ({"LM": 75}, {}, "4B"),
        ({"LAD": 70, "LCX": 70, "RCA": 70}, {}, "4B"),
        ({"LAD": 100}, {"occluded": True}, "5"),
        ({"LM": 60, "RCA": 100}, {"occluded": True}, "5"),
    ],
)
def test_category(stenosis: dict[str, float], options: dict[str, bool], category: str) -> None:
    result = cad_rads(stenosis, **options)
    assert result.category == category
    assert result.text == CATEGORY_TEXT[category]
    assert result.modifiers == ()


@pytest.mark.parametrize("stenosis", [{}, {"LAD": 10}, {"LAD": 49.9}])
def test_a_nondiagnostic_segment_without_obstruction_makes_the_study_nondiagnostic(stenosis: dict[str, float]) -> None:
    result = cad_rads(stenosis, nondiagnostic=True)
    assert result.category == "N"
    assert result.modifiers == ()


@pytest.mark.parametrize(
    ("stenosis", "occluded", "category"),
    [({"LAD": 50}, False, "3"), ({"LAD": 70}, False, "4A"), ({"LM": 50}, False, "4B"), ({"LAD": 100}, True, "5")],
)
def test_a_nondiagnostic_segment_beside_an_obstruction_is_a_modifier(
    stenosis: dict[str, float], occluded: bool, category: str
) -> None:
    result = cad_rads(stenosis, nondiagnostic=True, occluded=occluded)
    assert result.category == category
    assert result.modifiers == ("N",)


def test_100_percent_alone_is_no_occlusion() -> None:
    assert cad_rads({"LAD": 100.0}).category == "4A"


def test_an_unknown_territory_is_refused() -> None:
    with pytest.raises(ValueError, match="D1"):
        cad_rads({"D1": 50})


@pytest.mark.parametrize(
    ("segments", "burden"),
    [(0, None), (1, "P1"), (2, "P1"), (3, "P2"), (4, "P2"), (5, "P3"), (7, "P3"), (8, "P4"), (18, "P4")],
)
def test_plaque_burden_by_segment_involvement(segments: int, burden: str | None) -> None:
    assert plaque_burden(segments, "2") == burden


def test_no_plaque_burden_is_printed_with_category_0() -> None:
    assert plaque_burden(3, "0") is None


def printed_rule(lm: float, others: tuple[float, ...], plaque: bool, occluded: bool, open_segment: bool) -> str:
    """The printed table read as conditions that each ask for at least a category: the highest counts."""
    everything = (lm, *others)
    asked = ["0"]
    asked += ["1"] * (plaque or any(one >= 1 for one in everything))
    asked += ["2"] * any(one >= 25 for one in everything)
    asked += ["3"] * any(one >= 50 for one in everything)
    asked += ["4A"] * any(one >= 70 for one in everything)
    asked += ["4B"] * (lm >= 50 or all(one >= 70 for one in others))
    asked += ["5"] * occluded
    highest = max(asked, key=CATEGORIES.index)
    if not open_segment:
        return highest
    return f"{highest}/N" if highest in ("3", "4A", "4B", "5") else "N"


def test_every_combination_follows_the_printed_table() -> None:
    percents = (0.0, 0.9, 1.0, 24.9, 25.0, 49.9, 50.0, 69.9, 70.0, 99.0)
    seen = set()
    for lm, lad, lcx, rca in product(percents, repeat=4):
        for plaque, occluded, open_segment in product((False, True), repeat=3):
            found = cad_rads(
                {"LM": lm, "LAD": lad, "LCX": lcx, "RCA": rca},
                plaque=plaque,
                occluded=occluded,
                nondiagnostic=open_segment,
            )
            printed = "/".join((found.category, *found.modifiers))
            assert printed == printed_rule(lm, (lad, lcx, rca), plaque, occluded, open_segment)
            seen.add(printed)
    assert seen == {*CATEGORIES, "N", "3/N", "4A/N", "4B/N", "5/N"}


def test_the_left_main_of_exactly_50_percent_in_both_versions() -> None:
    assert cad_rads({"LM": 50.0}).category == "4B"
    assert cad_rads({"LM": 50.0}, left_main_from_50=False).category == "3"
    assert cad_rads({"LM": 50.1}, left_main_from_50=False).category == "4B"


def test_modifiers_are_printed_in_their_order() -> None:
    assert in_order_of_print(("E", "G", "N", "S", "I-", "HRP", "N")) == ("N", "HRP", "I-", "S", "G", "E")
    assert in_order_of_print(reversed(MODIFIERS)) == MODIFIERS
    assert in_order_of_print(("X", "S")) == ("S", "X")
