"""What was fitted on a user's texts: sentvec.json in, values out, and back. Other readers pass the file over.

The maps themselves are modules of the folder, and all but a flow are Dense, for all to read. The file says that they
were fitted, so that they are not fitted once more on top, and holds what sentence-transformers has no place for.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sentvec.checkpoint.files import read_json_or_empty, write_json
from sentvec.errors import ConfigError
from sentvec.ops.calibration import Calibration

FILE = "sentvec.json"


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """That the last map of the recipe was fitted, and not trained with the model.

    Attributes:
        kind: name in `sentvec.ops.affine.POSTPROCESSINGS`, or "flow".
        texts: how many texts it was fitted on.
    """

    kind: str
    texts: int


def read_fitted(root: Path) -> tuple[Fitted | None, Calibration | None]:
    """Read a model folder's sentvec.json; nothing where there is none.

    Raises:
        ConfigError: it does not hold what it should.
    """
    path = root / FILE
    content = read_json_or_empty(path)
    fitted = calibration = None
    if (row := content.get("postprocessing")) is not None:
        if not isinstance(row, dict) or not isinstance(row.get("kind"), str):
            raise ConfigError(f"{path}: postprocessing should name a kind, but is {row!r}.")
        fitted = Fitted(kind=row["kind"], texts=int(_number(row, "texts", path)))
    if (row := content.get("calibration")) is not None:
        if not isinstance(row, dict):
            raise ConfigError(f"{path}: calibration should be an object, but is {row!r}.")
        slope, offset, threshold, pairs = (_number(row, key, path) for key in ("slope", "offset", "threshold", "pairs"))
        if slope <= 0:
            raise ConfigError(f"{path}: the slope is {slope}, which should be greater than 0.")
        calibration = Calibration(slope=slope, offset=offset, threshold=threshold, pairs=int(pairs))
    return fitted, calibration


def write_fitted(root: Path, fitted: Fitted | None, calibration: Calibration | None) -> None:
    """Write a model folder's sentvec.json, or take an old one away where nothing was fitted."""
    content: dict[str, Any] = {}
    if fitted is not None:
        content["postprocessing"] = asdict(fitted)
    if calibration is not None:
        content["calibration"] = asdict(calibration)
    if content:
        write_json(root / FILE, content)
    else:
        (root / FILE).unlink(missing_ok=True)


def _number(row: Mapping[str, Any], key: str, path: Path) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < sys.float_info.max:
        raise ConfigError(f"{path}: {key} is {repr(value)[:40]}, which should be a number. Fit again and save.")
    return value
