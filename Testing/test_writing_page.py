"""report.html, its plots and its pictures."""

import base64
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import SimpleITK as sitk
from studies import full_study, oblique_affine, small_study

from StenosisDetectionLib.errors import StenosisDetectionError
from StenosisDetectionLib.geometry import grid_corners_ras, transform_points
from StenosisDetectionLib.study import VesselTree
from StenosisDetectionLib.writing import wording
from StenosisDetectionLib.writing.page import report_page
from StenosisDetectionLib.writing.pictures import cross_section, straightened
from StenosisDetectionLib.writing.plots import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, diameter_plot

BANNER = "Research use only. Not a medical device. Not for diagnosis or treatment decisions."
VOID = {"meta", "br", "image", "rect", "line", "path"}


class Page(HTMLParser):
    """Collects the text and every attribute of a page and checks that its tags are balanced."""

    def __init__(self, html):
        super().__init__()
        self.open, self.words, self.attributes, self.tags = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_shows_the_findings():
    page = Page(report_page(small_study()))
    assert page.text.count(BANNER) == 2
    assert "CAD-RADS 2.0 candidate 3/P2/N, software-suggested, unreviewed" in page.text
    assert "case-1" in page.text
    assert "Small test volume" in page.text
    assert "Diameter stenosis 60 % [52–67], 1.28 mm of 3.20 mm." in page.text
    assert "pLAD (6) moderate" in page.text
    assert "vesselness 1.0" in page.text
    assert (
        page.tags.count("svg") == 2 * 3 + 2 * 2 + 5
    )  # a plot per vessel, two pictures per lesion, the key of the plots


def test_loads_nothing_and_runs_nothing():
    html = report_page(small_study())
    page = Page(html)
    assert "script" not in page.tags and "link" not in page.tags
    sources = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert sources and all(value.startswith("data:image/png;base64,") for value in sources)
    assert "url(" not in html and "@import" not in html
    assert not any(name.startswith("on") for name, _ in page.attributes)


def test_text_of_the_study_is_escaped():
    study = small_study()
    quality = replace(study.quality, warnings=("<script>alert(1)</script>",))
    page = Page(report_page(replace(study, quality=quality)))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text


def test_shows_scores_territories_plaque_and_quality():
    text = Page(report_page(full_study())).text
    assert "Segment involvement score (SIS) 2 of 18 segments" in text
    assert "Segment stenosis score (SSS) 3 of 54" in text
    assert "P(≥ 50 %), P(≥ 70 %) 85 %, 10 %" in text
    assert "LAD moderate 60 99 85 10 completely" in text
    assert "RCA mild 30 70 5 < 1 in part" in text
    assert "Volume 40 mm³ Calcified 8 mm³ Fibrous (above 130 HU) 11 mm³ Fibrofatty (30 to 130 HU) 19 mm³" in text
    assert "Part of the vessel volume 6.2 %" in text and "over 73 % of the length of all vessels" in text
    assert "Contrast to noise 22" in text
    assert "100 401 19 ± 2 22 none found" in text
    assert "98 390 – 21 L1 moderate" in text


def test_words_of_a_doubtful_lesion_name_both_references_and_the_grades_it_could_be():
    text = Page(report_page(full_study())).text
    assert "Borderline: within its interval it could be mild to severe." in text
    assert "Healthy diameter: 3.20 mm by the taper model, 2.60 mm by both sides of the lesion; used: 3.20 mm" in text
    assert "The two disagree by more than 15 %" in text
    assert "calcified 4, fibrous 2, fibrofatty 4, low attenuation 2 mm³" in text
    assert "Remodeling index 1.16. Smallest over largest diameter 0.81. Candidates of high-risk features" in text
    assert "low-attenuation plaque, positive remodeling. RAS position" in text


def test_a_category_that_the_intervals_leave_open_is_said():
    study = small_study()
    first, second = study.lesions
    study = replace(study, lesions=(replace(first, diameter_stenosis_interval_90=(45.0, 72.0)), second))
    # N, not 2, since the small study has no LCX.
    assert "interval it would be N or 4A." in Page(report_page(study)).text
    sure = replace(study, lesions=(replace(first, diameter_stenosis_interval_90=(55.0, 65.0)), second))
    assert "Borderline: with every lesion" not in Page(report_page(sure)).text


def test_shows_the_decisions_of_readers_with_who_when_and_why():
    page = Page(report_page(full_study()))
    assert "L1 edited 60 60 A. Reader 2026-01-02T03:04:05Z the end was <too> far" in page.text
    assert "L2 rejected 30 – B. Reader 2026-01-02T03:05:05Z motion" in page.text
    assert "A1 added – 30 A. Reader" in page.text
    assert "Edited by A. Reader at 2026-01-02T03:04:05Z: “the end was <too> far”" in page.text
    assert "Decisions of the readers" not in Page(report_page(small_study())).text


def test_research_is_shown_only_when_it_was_asked_for_and_never_called_ffr():
    page = Page(report_page(full_study()))
    assert "LAD 0 40 4.1 -81.3 ± 0.7 1234 61 88" in page.text
    assert "L1 0.84 0.77–0.91 14 2.1" in page.text and "A1 – – – –" in page.text
    assert "FFR" not in page.text
    plain = Page(report_page(small_study())).text
    assert "For research only" not in plain and "Pressure" not in plain


def test_every_flag_that_is_set_has_words(repository):
    pattern = re.compile(
        r"""flags(?:\.append\(|=\(|: tuple\[str, \.\.\.\] = \(|=\(\*\w+\.flags, )((?:"[a-z_0-9]+",? ?)+)"""
    )
    found = set()
    for path in (repository / "StenosisDetectionLib").rglob("*.py"):
        for match in pattern.finditer(path.read_text(encoding="utf-8")):
            found |= set(re.findall(r'"(\w+)"', match.group(1)))
    assert len(found) > 20
    assert found - set(wording.FLAGS) == set()


def test_says_plainly_that_no_coronary_artery_was_found():
    study = small_study()
    patient = replace(study.patient, cad_rads=None, plaque_burden=None, segment_involvement_score=None)
    empty = replace(study, tree=VesselTree(()), profiles=(), references=(), lesions=(), patient=patient)
    page = Page(report_page(empty))
    assert "No coronary artery was found in this study." in page.text
    assert "candidate, " not in page.text
    assert BANNER in page.text and "Small test volume" in page.text


def test_says_when_there_is_no_lesion():
    page = Page(report_page(replace(small_study(), lesions=())))
    assert "No narrowing was found in the measured vessels." in page.text


def test_names_the_reader_who_signed():
    study = small_study()
    signed = replace(study, patient=replace(study.patient, reviewed=("A. Reader", "2026-01-02T03:04:05Z")))
    text = Page(report_page(signed)).text
    assert "reviewed by A. Reader at 2026-01-02T03:04:05Z" in text
    assert "software-suggested, unreviewed" not in text


def test_unknown_numbers_become_dashes():
    study = small_study()
    quality = replace(study.quality, noise_hu=None, aorta_hu=None, psf_sigma_mm=None)
    text = Page(report_page(replace(study, quality=quality, peak_memory_mb=None))).text
    assert "nan" not in text.lower().split() and "None" not in text
    assert "Noise in the aorta (SD) – HU" in text


def test_same_study_same_page():
    assert report_page(small_study()) == report_page(small_study())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (24.99, "24.99"), (49.4, "49"), (49.6, "49.6"), (49.96, "49.96"), (50.0, "50"), (69.7, "69.7"),
        (99.6, "99.6"), (100.0, "100"),
    ],
)  # fmt: skip
def test_rounding_never_changes_a_grade(value, text):
    assert wording.stenosis_percent(value) == text


def test_numbers_in_words():
    assert wording.number(None, 1) == wording.number(float("nan"), 1) == "–"
    assert wording.number(-0.0, 1) == "0.0"
    assert [wording.probability(p) for p in (0.0, 0.004, 0.5, 0.999)] == ["< 1", "< 1", "50", "> 99"]
    assert wording.flag_words("some_new_flag") == "some new flag"
    assert wording.segment_words("5") == wording.segment_words("LM") == "LM (5)"
    assert wording.segment_words("OM3") == "OM3"
    assert wording.grade_ranges() == {
        "none": "0 %", "minimal": "1–24 %", "mild": "25–49 %", "moderate": "50–69 %", "severe": "70–99 %",
        "occluded": "100 %",
    }  # fmt: skip


def coordinates(path):
    return np.array([[float(x), float(y)] for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)])


def test_plot_draws_the_profile_to_scale():
    study = small_study()
    profile, vessel = study.profiles[1], study.tree.vessels[1]
    plot = diameter_plot(study, 1)
    known = np.isfinite(profile.diameter_mm)
    drawn = coordinates(plot.lumen_path)
    scale = (WIDTH - LEFT - RIGHT) / 40.0
    np.testing.assert_allclose(drawn[:, 0], LEFT + scale * vessel.distance_mm[known], atol=0.06)
    # The ticks of the y axis say what a height means.
    ticks = np.array([[tick.place, float(tick.text)] for tick in plot.y_ticks])
    per_pixel = (ticks[-1, 1] - ticks[0, 1]) / (ticks[-1, 0] - ticks[0, 0])
    assert ticks[0].tolist() == [HEIGHT - BOTTOM, 0.0]
    np.testing.assert_allclose((drawn[:, 1] - ticks[0, 0]) * per_pixel, profile.diameter_mm[known], atol=0.005)
    (band,) = plot.lesions
    lesion = study.lesions[0]
    assert band.x == pytest.approx(LEFT + scale * lesion.start_mm)
    assert band.throat_x == pytest.approx(drawn[np.argmax(drawn[:, 1]), 0], abs=0.06)
    assert [band.text for band in plot.unsure] == ["bifurcation", "end"]


def test_plot_breaks_its_line_where_nothing_was_measured():
    study = small_study()
    diameter = study.profiles[1].diameter_mm.copy()
    diameter[20:24] = np.nan
    profiles = (study.profiles[0], replace(study.profiles[1], diameter_mm=diameter), study.profiles[2])
    plot = diameter_plot(replace(study, profiles=profiles), 1)
    assert plot.lumen_path.count("M") == 2
    assert plot.interval_path.count("Z") == 2


def test_plot_of_a_vessel_without_any_measurement():
    study = small_study()
    nothing = np.full_like(study.profiles[0].diameter_mm, np.nan)
    profile = replace(study.profiles[0], diameter_mm=nothing, diameter_error_mm=nothing)
    reference = replace(study.references[0], diameter_mm=nothing)
    study = replace(
        study, profiles=(profile, *study.profiles[1:]), references=(reference, *study.references[1:])
    )  # fmt: skip
    plot = diameter_plot(study, 0)
    assert plot.lumen_path == plot.reference_path == plot.interval_path == ""
    page = Page(report_page(study))
    assert not [value for _, value in page.attributes if re.search(r"\bnan\b", value or "")][:1]


GRADIENT = np.array([4.0, -7.0, 5.0])
"""HU per mm along R, A and S of the test volume: linear interpolation gives it exactly."""


@pytest.fixture
def ramp():
    """A small study whose volume is a linear ramp in RAS, and that ramp as a function."""
    study = small_study()
    shape = (60, 70, 80)
    ijk_to_ras = oblique_affine()
    k, j, i = np.indices(shape)
    positions = transform_points(ijk_to_ras, np.stack([i, j, k], axis=-1))
    middle = grid_corners_ras(shape, ijk_to_ras).mean(axis=0)

    def hu(points):
        return 350.0 + (points - middle) @ GRADIENT

    return replace(study, volume=replace(study.volume, voxels=hu(positions).astype(np.float32))), hu


def pixels(picture, folder):
    file = folder / "picture.png"
    file.write_bytes(base64.b64decode(picture.uri.removeprefix("data:image/png;base64,")))
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file))).astype(float)


def shown_hu(gray):
    return -100.0 + gray / 255.0 * 900.0


def test_cross_section_shows_the_plane_of_the_throat(ramp, tmp_path):
    study, hu = ramp
    vessel, profile, lesion = study.tree.vessels[1], study.profiles[1], study.lesions[0]
    picture = cross_section(study.volume, vessel, profile, lesion)
    gray = pixels(picture, tmp_path)
    throat = np.array(lesion.position_ras)
    _, right, up = profile.frames[0]
    for row, column in ((0, 0), (30, 90), (119, 60)):
        point = throat + (column - 59.5) * 0.1 * right + (59.5 - row) * 0.1 * up
        expected = hu(point)
        assert -90 < expected < 790  # inside the window and the volume
        assert shown_hu(gray[row, column]) == pytest.approx(expected, abs=2.5)
    outline = coordinates(picture.outline_path) - 6.0
    np.testing.assert_allclose(np.hypot(*outline.T), lesion.minimal_lumen_diameter_mm / 2.0, atol=0.01)
    assert picture.outline_path.endswith("Z")


def test_straightened_cut_follows_the_vessel(ramp, tmp_path):
    study, hu = ramp
    vessel, profile, lesion = study.tree.vessels[1], study.profiles[1], study.lesions[0]
    # An ellipse: narrowest along the second in-plane vector.
    angles = 2.0 * np.pi * np.arange(32) / 32
    radii = profile.contour_radius_mm * (1.0 + 0.3 * np.cos(angles) ** 2)
    profile = replace(profile, contour_radius_mm=radii)
    picture = straightened(study.volume, vessel, profile, lesion)
    gray = pixels(picture, tmp_path)
    assert gray.shape == (100, len(vessel.points_ras))
    assert picture.width_mm == pytest.approx(vessel.length_mm + 0.25)
    across = profile.frames[0, 2]
    for row, column in ((0, 5), (50, 30), (99, 60)):
        point = vessel.points_ras[column] + (49.5 - row) * 0.1 * across
        assert shown_hu(gray[row, column]) == pytest.approx(hu(point), abs=2.5)
    upper, lower = (coordinates("M" + part) for part in picture.outline_path.split("M")[1:])
    at_throat = np.argmin(np.abs(upper[:, 0] - picture.mark_x_mm))
    gap = lower[at_throat, 1] - upper[at_throat, 1]
    assert gap == pytest.approx(lesion.minimal_lumen_diameter_mm, abs=0.02)


def test_pictures_are_black_outside_the_volume(tmp_path):
    study = small_study()
    vessel, profile, lesion = study.tree.vessels[2], study.profiles[2], study.lesions[1]
    far = replace(profile, contour_center_ras=profile.contour_center_ras + 500.0)
    assert pixels(cross_section(study.volume, vessel, far, lesion), tmp_path).max() == 0


def test_a_lesion_behind_calcium_is_never_given_the_number_of_its_certain_end():
    study = full_study()
    lesion = replace(
        study.lesions[0],
        diameter_stenosis_percent=7.3,
        minimal_lumen_diameter_mm=2.71,
        diameter_stenosis_interval_90=(7.3, 88.0),
        grade="minimal",
        flags=("calcium_limited", "interval_only"),
    )
    html = report_page(replace(study, lesions=(lesion, *study.lesions[1:])))
    words = " ".join(" ".join(Page(html).words).split())
    assert "[7–88]" in words.replace(" ", "") or "7–88" in words
    assert "2.71 mm of" not in words
    assert "minimal or more" in words
    assert "<strong>7</strong>" not in html


def test_a_missing_jinja2_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(StenosisDetectionError, match="jinja2: press Install packages in Slicer"):
        report_page(small_study())
