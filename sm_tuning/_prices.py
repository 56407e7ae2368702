"""What an instance costs for an hour: from a mapping, a file, or the file that SM_TUNING_PRICES names.

No price is built in: they differ by region and change. The AWS Price List has today's.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sm_tuning._errors import SpecError

PRICES_VARIABLE = "SM_TUNING_PRICES"

Prices = Mapping[str, float] | str | os.PathLike[str] | None


def read_prices(prices: Prices = None, *, environ: Mapping[str, str] = os.environ) -> dict[str, float]:
    """Return the price of an hour by instance type, such as ``{"ml.m5.large": 0.115}``; empty when none is known.

    Args:
        prices: a mapping; or the path of a ``.json``, ``.yaml`` or ``.yml`` file that holds one, or of a ``.csv`` file
            with the columns ``InstanceType`` and ``PricePerHour``, or with two columns and no header;
            ``SM_TUNING_PRICES`` names the file when left out.
        environ: where that is read from.

    Raises:
        SpecError: the file cannot be read, or a price is not a number that is zero or more.
    """
    if prices is None:
        prices = environ.get(PRICES_VARIABLE) or {}
    if isinstance(prices, Mapping):
        return _checked(prices, "prices")
    from sm_tuning._documents import read_limited  # noqa: PLC0415  (importing sm_tuning stays cheap)

    path = Path(os.path.expanduser(prices))  # noqa: PTH111  (an unknown user is no error)
    try:
        text = read_limited(path)
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot read the prices in {str(path)!r}: {error}") from error
    return _checked(_parsed(path, text), str(path))


def _parsed(path: Path, text: str) -> Any:
    if path.suffix == ".csv":
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        header = rows[0] if rows else []
        if {"InstanceType", "PricePerHour"} <= set(header):
            at = [header.index(name) for name in ("InstanceType", "PricePerHour")]
            rows = [[row[place] if place < len(row) else "" for place in at] for row in rows[1:]]
        if any(len(row) != 2 for row in rows):
            raise SpecError(f"{path}: each line has an instance type and its price, such as ml.m5.large,0.115")
        return dict(rows)
    import yaml  # noqa: PLC0415  (importing sm_tuning stays cheap)

    from sm_tuning._documents import parse_json, parse_yaml  # noqa: PLC0415  (importing sm_tuning stays cheap)

    try:
        if path.suffix == ".json":
            return parse_json(text)
        return parse_yaml(text)
    except ValueError as error:
        raise SpecError(f"{path}: this is not {'JSON' if path.suffix == '.json' else 'YAML'}: {error}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: this is not YAML: {' '.join(str(error).split())}") from error


def _checked(data: Any, where: str) -> dict[str, float]:
    if not isinstance(data, Mapping):
        raise SpecError(f"{where}: prices are a mapping of instance types to dollars an hour, but got {data!r}")
    found: dict[str, float] = {}
    for name, price in data.items():
        try:
            dollars = math.nan if isinstance(price, bool) else float(price)
        except (TypeError, ValueError):
            dollars = math.nan
        if not (math.isfinite(dollars) and dollars >= 0):
            raise SpecError(f"{where}: the price of {name!r} must be dollars an hour such as 0.115, but got {price!r}")
        found[str(name)] = dollars
    return found
