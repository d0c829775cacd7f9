"""The plots of an evaluation as coordinates for its page, which draws them as SVG.

In: the figures of an `Evaluation`. Out: `Plot`s in the units of their viewBox; y grows downward, as SVG wants it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..writing.plots import Tick
from .cases import CaseScores
from .stenosis import StenosisFigures
from .summary import WHOLE, SegmentationFigures

LEFT, RIGHT, TOP, BOTTOM = 52.0, 16.0, 22.0, 42.0

STRIPS = (
    ("dice", "Dice", "", (0.0, 1.0)),
    ("cldice", "clDice", "", (0.0, 1.0)),
    ("hd95", "HD95", "mm", (0.0, None)),
    ("betti0_error", "Betti-0 error", "components", (0.0, None)),
)
"""Figures drawn case by case: name, title, unit, and the range of the axis (None: as the data are)."""


@dataclass(frozen=True)
class Mark:
    """A point with its style and what it says when pointed at; a bar from `low` to `high` if these are given."""

    x: float
    y: float
    style: str
    title: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Rule:
    """A line over the whole plot, horizontal at `y`, with its text at the right; `style` is a class of the page."""

    y: float
    text: str
    style: str


@dataclass(frozen=True)
class Curve:
    """A line through points as an SVG path, its style and its name for the key."""

    path: str
    style: str
    text: str = ""


@dataclass(frozen=True)
class Plot:
    """One plot: frame, ticks, labels and what is drawn."""

    title: str
    width: float
    height: float
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...] = ()
    rules: tuple[Rule, ...] = ()
    curves: tuple[Curve, ...] = field(default=())
    left: float = LEFT
    top: float = TOP

    @property
    def right(self) -> float:
        """Right end of the area."""
        return self.width - RIGHT

    @property
    def bottom(self) -> float:
        """Lower end of the area."""
        return self.height - BOTTOM


@dataclass(frozen=True)
class _Scale:
    """Maps values to places, and gives round ticks."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        part = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * min(max(part, 0.0), 1.0)

    def ticks(self, count: int = 5) -> tuple[Tick, ...]:
        step = _step(self.high - self.low, count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(Tick(self(n * step), f"{round(n * step, 6) + 0.0:g}") for n in range(first, last + 1))


def bland_altman(stenosis: StenosisFigures) -> Plot | None:
    """Return the difference of measured and true stenosis over their mean, with bias and limits of agreement."""
    measured = [(pair, pair.measured_percent) for pair in stenosis.pairs if pair.measured_percent is not None]
    if not measured:
        return None
    width, height = 520.0, 300.0
    differences = [value - pair.reference_percent for pair, value in measured]
    values = {name: stenosis.measurement[name].value for name in ("bias", *_LIMITS)}
    reach = max(20.0, *(abs(d) for d in differences), *(abs(v) for v in values.values() if v is not None))
    reach = 10.0 * math.ceil(reach * 1.05 / 10.0)
    x, y = _Scale(0, 100, LEFT, width - RIGHT), _Scale(-reach, reach, height - BOTTOM, TOP)
    rules = [Rule(y(0.0), "", "zero")]
    for name, value in values.items():
        if value is not None:
            rules.append(Rule(y(value), f"{_RULE_NAMES[name]} {value:+.1f}", "mean" if name == "bias" else "limit"))
    marks = tuple(
        Mark(
            x((value + pair.reference_percent) / 2),
            y(difference),
            "point",
            f"{pair.case_id} {pair.vessel}: true {pair.reference_percent:.0f}, measured {value:.0f} %",
        )
        for (pair, value), difference in zip(measured, differences, strict=True)
    )
    return Plot(
        "Measured minus true diameter stenosis",
        width,
        height,
        "mean of both (%)",
        "difference (percentage points)",
        x.ticks(10),
        y.ticks(8),
        marks,
        tuple(rules),
    )


_LIMITS = ("limit_of_agreement_low", "limit_of_agreement_high")
_RULE_NAMES = {"bias": "bias", _LIMITS[0]: "lower limit", _LIMITS[1]: "upper limit"}


def interval_plot(stenosis: StenosisFigures) -> Plot | None:
    """Return measured over true stenosis with the 90 % intervals; those that miss the truth stand out."""
    pairs = [pair for pair in stenosis.pairs if pair.interval_90 is not None]
    if not pairs:
        return None
    size = 400.0
    x, y = _Scale(0, 100, LEFT, size - RIGHT), _Scale(0, 100, size - BOTTOM, TOP)
    marks = []
    for pair in pairs:
        low, high = pair.interval_90 or (0.0, 0.0)
        covers = low <= pair.reference_percent <= high
        title = f"{pair.case_id} {pair.vessel}: true {pair.reference_percent:.0f} %, "
        number = "no number" if pair.measured_percent is None else f"measured {pair.measured_percent:.0f} %"
        title += f"{number} [{low:.0f}–{high:.0f}]"
        middle = 0.5 * (low + high) if pair.measured_percent is None else pair.measured_percent
        style = "point" if covers else "miss"
        marks.append(Mark(x(pair.reference_percent), y(middle), style, title, y(low), y(high)))
    identity = Curve(f"M{x(0):.1f} {y(0):.1f} L{x(100):.1f} {y(100):.1f}", "zero")
    ticks = x.ticks(10), y.ticks(10)
    return Plot(
        "Measured stenosis with its 90 % interval",
        size,
        size,
        "true diameter stenosis (%)",
        "measured (%)",
        *ticks,
        tuple(marks),
        (),
        (identity,),
    )


def froc_plot(stenosis: StenosisFigures) -> Plot | None:
    """Return the FROC curves of all thresholds, each with the point at which the software works."""
    drawn = [item for item in stenosis.thresholds if len(item.froc) > 1]
    if not drawn:
        return None
    width, height = 520.0, 300.0
    most = max(1.0, *(point[0] for item in drawn for point in item.froc))
    x, y = _Scale(0, math.ceil(most * 2) / 2, LEFT, width - RIGHT), _Scale(0, 1, height - BOTTOM, TOP)
    curves, marks = [], []
    for number, item in enumerate(drawn):
        places = [(x(item.froc[0][0]), y(item.froc[0][1]))]
        for false, true in item.froc[1:]:
            places += [(x(false), places[-1][1]), (x(false), y(true))]
        path = "M" + " L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        curves.append(Curve(path, f"series-{number}", f"at least {item.percent:g} %"))
        rate, sensitivity = item.lesions["false_positives_per_patient"].value, item.lesions["sensitivity"].value
        if rate is not None and sensitivity is not None:
            title = (
                f"at least {item.percent:g} %: sensitivity {sensitivity:.2f} at {rate:.2f} false positives a patient"
            )
            marks.append(Mark(x(rate), y(sensitivity), f"series-{number}", title))
    return Plot(
        "Free-response ROC (points: where the software works)",
        width,
        height,
        "false positives per patient",
        "sensitivity",
        x.ticks(10),
        y.ticks(5),
        tuple(marks),
        (),
        tuple(curves),
    )


def strip_plots(segmentation: SegmentationFigures, cases: Sequence[CaseScores]) -> list[Plot]:
    """Return one plot a score of the segmentation, a point a case, with the mean and its interval."""
    scored = [c for c in cases if c.segmentation is not None and c.segmentation.whole.betti0_reference > 0]
    groups = sorted({case.group for case in scored})
    plots = []
    for name, title, unit, (low, high) in STRIPS:
        attribute = f"{name}_mm" if unit == "mm" else name
        values = [(case, getattr(case.segmentation.whole, attribute)) for case in scored if case.segmentation]
        known = [(case, float(value)) for case, value in values if value is not None]
        if not known:
            continue
        width, height = 250.0, 250.0
        top = high if high is not None else max(1.0, *(value for _, value in known)) * 1.05
        y = _Scale(low or 0.0, top, height - BOTTOM, TOP)
        room = (width - LEFT - RIGHT) / len(groups)
        marks, counts = [], dict.fromkeys(groups, 0)
        for case, value in known:
            counts[case.group] += 1
            # The golden ratio spreads any number of points evenly, the same way each time.
            aside = (counts[case.group] * 0.618034 % 1.0 - 0.5) * 0.6
            place = LEFT + room * (groups.index(case.group) + 0.5 + aside)
            marks.append(Mark(place, y(value), "point", f"{case.case_id}: {title} {value:.3g} {unit}".strip()))
        figure = segmentation.masks[WHOLE][name]
        rules = []
        if figure.value is not None:
            rules.append(Rule(y(figure.value), f"mean {figure.value:.3g}", "mean"))
            rules += [Rule(y(edge), "", "limit") for edge in figure.interval_95 or ()]
        ticks, label = _group_ticks(groups, room)
        label = label or f"{len(known)} cases"
        plots.append(Plot(title, width, height, label, unit, ticks, y.ticks(5), tuple(marks), tuple(rules)))
    return plots


def _group_ticks(groups: list[str], room: float) -> tuple[tuple[Tick, ...], str]:
    """Return a tick for each of several groups: its name, or where names are too long its number and a key."""
    if len(groups) < 2:
        return (), ""
    numbered = max(map(len, groups)) * 6.5 > room
    names = [str(n + 1) if numbered else group for n, group in enumerate(groups)]
    key = ", ".join(f"{name} {group}" for name, group in zip(names, groups, strict=True)) if numbered else ""
    return tuple(Tick(LEFT + room * (n + 0.5), name) for n, name in enumerate(names)), key


def _step(span: float, count: int) -> float:
    """Return a round tick distance (1, 2 or 5 times a power of ten) that gives at most about `count` ticks."""
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 5.0):
        if factor * power >= rough * (1 - 1e-9):
            return factor * power
    return 10.0 * power
