"""The curves of a training: a CSV file with one value a line, and TensorBoard when it is installed."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COLUMNS = ("set", "iteration", "quantity", "value")


class Curves:
    """Writes `curves.csv` into a folder; values from `iteration` on are dropped, because a resumed run writes them."""

    def __init__(self, folder: Path, iteration: int) -> None:
        self._path = folder / "curves.csv"
        kept = [row for row in read_curves(self._path) if int(row["iteration"]) <= iteration] if iteration else []
        self._file = self._path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()
        self._writer.writerows(kept)
        self._board = _tensorboard(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, group: str, iteration: int, values: dict[str, float]) -> None:
        """Add values of `training` or `validation` at an iteration."""
        for quantity, value in values.items():
            self._writer.writerow(dict(zip(COLUMNS, (group, iteration, quantity, f"{value:.6g}"), strict=True)))
            if self._board is not None:
                self._board.add_scalar(f"{group}/{quantity}", value, iteration)
        self._file.flush()


def read_curves(path: Path) -> list[dict[str, str]]:
    """Return the rows of a `curves.csv`; none when it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _tensorboard(folder: Path) -> Any:
    """Return a TensorBoard writer, None when the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
