"""Ranges as the API has them: three lists, every number a string."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sm_tuning.request._reader import Reader
from sm_tuning.spec import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
    ParameterRange,
    decode_json,
    decode_plain,
    encode_json,
    encode_plain,
)


def write_ranges(
    ranges: Mapping[str, ParameterRange], hints: Mapping[str, str], *, as_json: bool
) -> dict[str, list[dict[str, Any]]]:
    """Write ``ParameterRanges``, all three lists even when empty: SDK v2 cannot read a job that lacks one.

    Args:
        ranges: hyperparameter name -> range.
        hints: autotune's hints.
        as_json: whether categorical values go to a framework image's toolkit, which parses JSON.
    """
    encode = encode_json if as_json else encode_plain
    lists: dict[str, list[dict[str, Any]]] = {
        "IntegerParameterRanges": [],
        "ContinuousParameterRanges": [],
        "CategoricalParameterRanges": [],
    }
    for name, range_ in ranges.items():
        if isinstance(range_, CategoricalParameter):
            values = [encode(value) for value in range_.values]
            lists["CategoricalParameterRanges"].append({"Name": name, "Values": values})
        else:
            kind = "Integer" if isinstance(range_, IntegerParameter) else "Continuous"
            lists[f"{kind}ParameterRanges"].append({"Name": name, **_bounds(range_)})
    if hints:
        lists["AutoParameters"] = [{"Name": name, "ValueHint": hint} for name, hint in hints.items()]
    return lists


def _bounds(range_: IntegerParameter | ContinuousParameter) -> dict[str, str]:
    return {
        "MinValue": repr(range_.min_value),
        "MaxValue": repr(range_.max_value),
        "ScalingType": range_.scaling_type,
    }


def read_ranges(reader: Reader, *, as_json: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Read ``ParameterRanges`` back: the ranges as plain data, and autotune's hints."""
    ranges: dict[str, Any] = {}
    for kind, number in (("integer", _whole), ("continuous", float)):
        for item in reader.items(f"{kind.title()}ParameterRanges"):
            ranges[str(item.take("Name"))] = {"type": kind, **_read_bounds(item, number)}
            item.close()
    decode = decode_json if as_json else decode_plain
    for item in reader.items("CategoricalParameterRanges"):
        values = [decode(text) for text in item.take("Values", ())]
        ranges[str(item.take("Name"))] = {"type": "categorical", "values": values}
        item.close()
    hints = {}
    for item in reader.items("AutoParameters"):
        hints[str(item.take("Name"))] = str(item.take("ValueHint", ""))
        item.close()
    reader.close()
    return ranges, hints


def _read_bounds(item: Reader, number: Callable[[str], float]) -> dict[str, Any]:
    bounds: dict[str, Any] = {"scaling_type": item.take("ScalingType", "Auto")}
    for name, field in (("MinValue", "min_value"), ("MaxValue", "max_value")):
        text = str(item.take(name))
        try:
            bounds[field] = number(text)
        except ValueError:
            item.refuse(name, text, "must be a number")
            bounds[field] = 0
    return bounds


def _whole(text: str) -> int:
    """A whole number; other tools write ``8.0`` for ``8``."""
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not value.is_integer():
            raise
        return int(value)
