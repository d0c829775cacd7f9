"""Fixtures shared by the tests."""

import os
import tempfile
from pathlib import Path

import pytest
from panel_fixtures import layout, looking, panel_module, pipeline, reviewed, table, widget  # noqa: F401 - fixtures

# Two test processes share two cores: waiting threads must not spin (read when torch loads).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# What the product keeps on a computer, the tests keep elsewhere.
os.environ.setdefault("STENOSIS_DETECTION_CACHE", str(Path(tempfile.gettempdir()) / "stenosis-detection-tests"))

REPOSITORY = Path(__file__).resolve().parents[1]


def test_data_folder() -> Path:
    """Return the folder of the real test data, which is not part of the repository."""
    return Path(os.environ.get("STENOSIS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = test_data_folder()
    if not folder.is_dir():
        pytest.skip("the real test data is absent: set STENOSIS_TEST_DATA to its folder")
    return folder
