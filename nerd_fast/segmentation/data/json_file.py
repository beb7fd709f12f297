"""JSON files that come with a data set: its description, its list of cases, its split."""

import json
from pathlib import Path
from typing import Any

from nerd_fast.segmentation.base.faults import data_error, reason_of


def read_json(path: Path) -> Any:
    """What the file holds. Raises DataError for a file that cannot be read or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise data_error(
            path, found=reason_of(error), expected="a JSON file", remedy="check the path, or correct it"
        ) from error
