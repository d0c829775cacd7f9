"""evaluation.html: one self-contained page of an evaluation for people.

In: an `Evaluation`. Out: HTML text with its style and plots (SVG) inside, no scripts, nothing loaded from elsewhere.
The layout is Resources/templates/evaluation.html.
"""

from ..resources import resource_path
from ..stenosis.cad_rads import CATEGORIES
from ..version import RESEARCH_USE, __version__
from .causes import CAUSES
from .document import case_rows, evaluation_document
from .plots import bland_altman, froc_plot, interval_plot, strip_plots
from .statistics import BOOTSTRAP_SAMPLES, Figure
from .summary import Evaluation

UNKNOWN = "–"

TITLES: dict[str, str] = {
    "dice": "Dice",
    "cldice": "clDice",
    "hd95": "HD95",
    "assd": "Average symmetric surface distance",
    "betti0_error": "Betti-0 error",
    "topology_precision": "Skeleton of the result inside the reference",
    "topology_sensitivity": "Skeleton of the reference inside the result",
    "overlap": "Overlap (OV)",
    "overlap_first_error": "Overlap until first error (OF)",
    "overlap_relevant": "Overlap of the part of 1.5 mm or more (OT)",
    "accuracy_inside": "Accuracy inside (AI)",
    "average_distance": "Average distance (AD)",
    "length_recall": "Length of the reference found",
    "length_precision": "Length of the result that is artery",
    "branch_recall": "Branches found",
    "false_branches_per_patient": "False branches per patient",
    "gaps_per_patient": "Gaps per patient",
    "ostium_error": "Ostium error",
    "ostia_found": "Ostia found",
    "vessel_name_accuracy": "Length with the right vessel name",
    "segment_name_accuracy": "Length with the right SCCT segment",
    "dominance_accuracy": "Dominance right",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auc": "Area under the ROC curve",
    "positive_predictive_value": "Positive predictive value",
    "positive_predictive_value_without_near": "Positive predictive value, near misses aside",
    "f1": "F1",
    "false_positives_per_patient": "False positives per patient",
    "near_false_positives_per_patient": "of these, near the threshold",
    "bias": "Bias",
    "sd": "Standard deviation",
    "limit_of_agreement_low": "Lower limit of agreement",
    "limit_of_agreement_high": "Upper limit of agreement",
    "mae": "Mean absolute error",
    "rmse": "Root mean square error",
    "rmse_with_misses": "Root mean square error, misses as 0 %",
    "icc_2_1": "ICC(2,1), absolute agreement",
    "pearson": "Pearson correlation",
    "interval_90_coverage": "Truth inside the 90 % interval",
    "mld_bias": "Bias of the minimal lumen diameter",
    "mld_mae": "Mean absolute error of the minimal lumen diameter",
    "kappa_linear": "Kappa, linear weights",
    "kappa_quadratic": "Kappa, quadratic weights",
    "exact": "Same category",
    "within_one": "At most one category apart",
}
"""The figures in words."""

CASE_COLUMNS: dict[str, str] = {
    "case": "Case",
    "group": "Group",
    "dice": "Dice",
    "cldice": "clDice",
    "hd95_mm": "HD95 mm",
    "betti0_error": "Betti-0 error",
    "overlap": "OV",
    "accuracy_inside_mm": "AI mm",
    "missed_branches": "Missed branches",
    "false_branches": "False branches",
    "ostium_error_mm": "Ostium error mm",
    "lesions_reference": "Lesions",
    "lesions_found": "found",
    "lesions_matched": "matched",
    "cad_rads_reference": "CAD-RADS",
    "cad_rads": "found",
    "note": "Note",
}
"""The columns of evaluation.csv that the page shows."""


def evaluation_page(evaluation: Evaluation, samples: int = BOOTSTRAP_SAMPLES) -> str:
    """Return evaluation.html of an evaluation."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(resource_path("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(figure=figure_words, interval=interval_words, title=title_words, cell=cell_words)
    stenosis, segmentation = evaluation.stenosis, evaluation.segmentation
    rows = case_rows(evaluation)
    columns = [name for name in CASE_COLUMNS if any(row[name] not in (None, "") for row in rows)]
    return environment.get_template("evaluation.html").render(
        evaluation=evaluation,
        document=evaluation_document(evaluation, samples),
        research_use=RESEARCH_USE,
        version=__version__,
        categories=CATEGORIES,
        causes=CAUSES,
        bland_altman=None if stenosis is None else bland_altman(stenosis),
        intervals=None if stenosis is None else interval_plot(stenosis),
        froc=None if stenosis is None else froc_plot(stenosis),
        strips=[] if segmentation is None else strip_plots(segmentation, evaluation.cases),
        rows=rows,
        columns={name: CASE_COLUMNS[name] for name in columns},
    )


def title_words(name: str) -> str:
    """Return a figure's name in words."""
    start, _, rate = name.partition("sensitivity_at_")
    if rate and not start:
        return f"Sensitivity at {rate.split('_')[0]} false positives per patient"
    return TITLES.get(name, name.replace("_", " "))


def figure_words(figure: Figure) -> str:
    """Return the value of a figure with its unit, a dash where it is undefined."""
    if figure.value is None:
        return UNKNOWN
    unit = {"percentage points": "pp", "components": ""}.get(figure.unit, figure.unit)
    return f"{_number(figure.value, figure.unit)} {unit}".strip()


def interval_words(figure: Figure) -> str:
    """Return the 95 % interval of a figure, a dash where it cannot be had."""
    if figure.interval_95 is None:
        return UNKNOWN
    low, high = (_number(value, figure.unit) for value in figure.interval_95)
    return f"{low} to {high}"


def cell_words(value: object) -> str:
    """Return a value of a row as text."""
    if value is None:
        return UNKNOWN
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _number(value: float, unit: str) -> str:
    return f"{value + 0.0:.1f}" if unit == "percentage points" else f"{value + 0.0:.3f}"
