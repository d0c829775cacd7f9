"""Writes an evaluation: evaluation.json, evaluation.html and evaluation.csv in one folder, each complete or absent."""

import json
from pathlib import Path

from ..errors import InputError
from ..writing.texts import write_texts
from .document import evaluation_csv, evaluation_document
from .page import evaluation_page
from .statistics import BOOTSTRAP_SAMPLES
from .summary import Evaluation

JSON_FILE, PAGE_FILE, TABLE_FILE = "evaluation.json", "evaluation.html", "evaluation.csv"


def check_output(directory: Path, overwrite: bool) -> None:
    """Refuse a folder that holds an evaluation already, before the work.

    Raises
    ------
    InputError : it does, and `overwrite` is not set.
    """
    if (directory / JSON_FILE).exists() and not overwrite:
        raise InputError(f"the folder '{directory.name}' holds an evaluation: choose another one or add --overwrite")


def write_evaluation(evaluation: Evaluation, directory: Path, samples: int = BOOTSTRAP_SAMPLES) -> Path:
    """Write the three files into a folder, which is created, and return the path of evaluation.json.

    Raises
    ------
    InputError : the folder cannot be written to.
    """
    document = json.dumps(evaluation_document(evaluation, samples), indent=1, ensure_ascii=False, allow_nan=False)
    # The JSON file comes last: where it is, the others are, too.
    texts = {
        TABLE_FILE: evaluation_csv(evaluation),
        PAGE_FILE: evaluation_page(evaluation, samples),
        JSON_FILE: document + "\n",
    }
    write_texts(directory, texts, "the evaluation")
    return directory / JSON_FILE
