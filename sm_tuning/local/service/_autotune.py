"""Autotune: the values that the service adds if a request leaves them to automatic model tuning.

The Developer Guide (automatic-model-tuning-define-ranges) has the rule for integers: half of the hint to twice the
hint. It has no rule for other hints, and no numbers for the limits; those are choices, marked where they are made. The
description keeps the hints beside their ranges.
"""

from __future__ import annotations

import copy
import math
import re

from sm_tuning._wire import RANGE_LISTS
from sm_tuning.local.service._context import Doc, Request
from sm_tuning.local.service._rules import DEFAULT_MAX_JOBS, combinations

_TRIALS_A_DIMENSION = 10
_FEWEST_TRIALS = 20
_RETRIES = 3
_INTEGERS, _CONTINUOUS, _CATEGORIES = RANGE_LISTS
_TRUTHS = ({"true", "false"}, {"True", "False"}, {"TRUE", "FALSE"})


def with_ranges_of_hints(request: Request) -> Request:
    """Return a request with ranges for its hints; without Autotune, the request itself."""
    if "Autotune" not in request:
        return request
    filled = copy.deepcopy(dict(request))
    for ranges in _all_ranges(filled):
        for hint in ranges.get("AutoParameters", []):
            kind, found = range_of(hint["Name"], hint["ValueHint"])
            ranges.setdefault(kind, []).append(found)
    return filled


def filled_in(request: Request) -> Request:
    """Return a request, whose ranges were checked, with the other values of Autotune.

    The API requires Strategy and MaxParallelTrainingJobs, so that they stay as they are.
    """
    if "Autotune" not in request:
        return request
    filled = copy.deepcopy(dict(request))
    for definition in filled.get("TrainingJobDefinitions") or [filled["TrainingJobDefinition"]]:
        definition.setdefault("RetryStrategy", {"MaximumRetryAttempts": _RETRIES})
    # Choice: ten training jobs for each tuned hyperparameter, at least 20, and no more than there are combinations.
    # Early stopping is on where it is allowed: not for Hyperband, nor for several definitions.
    config = filled["HyperParameterTuningJobConfig"]
    definitions = _all_ranges(filled)
    dimensions = sum(len(ranges.get(kind, [])) for ranges in definitions for kind in RANGE_LISTS)
    wanted = min(max(_FEWEST_TRIALS, _TRIALS_A_DIMENSION * dimensions), DEFAULT_MAX_JOBS)
    size = combinations(definitions)
    total = math.inf if size is None else size
    limits = config["ResourceLimits"]
    if config["Strategy"] != "Grid":
        limits["MaxNumberOfTrainingJobs"] = int(min(limits.get("MaxNumberOfTrainingJobs", wanted), max(1, total)))
    stops_by_itself = config["Strategy"] == "Hyperband" or len(definitions) > 1
    config.setdefault("TrainingJobEarlyStoppingType", "Off" if stops_by_itself else "Auto")
    criteria = config.setdefault("TuningJobCompletionCriteria", {})
    criteria.setdefault("ConvergenceDetected", {"CompleteOnConvergence": "Enabled"})
    return filled


def _all_ranges(request: Doc) -> list[Doc]:
    """Return the ranges of each definition; missing ones are added as empty ranges."""
    if "TrainingJobDefinition" in request:
        return [request["HyperParameterTuningJobConfig"].setdefault("ParameterRanges", {})]
    return [definition.setdefault("HyperParameterRanges", {}) for definition in request["TrainingJobDefinitions"]]


def range_of(name: str, hint: str) -> tuple[str, Doc]:
    """Return the list and the range for a hint.

    Integers: half to twice the hint (0 becomes 0 to 1). Choices: decimals up to 1, which are mostly rates and shares,
    become a tenth of the hint to ten times the hint, 1 at most, on the logarithmic scale; larger decimals half to
    twice, and 0.0 becomes 0.0 to 1.0. A truth value becomes both values; any other text has only itself as a choice.
    """
    if re.fullmatch(r"[+-]?\d+", hint):
        value = int(hint)
        half = max(1, value // 2) if value > 0 else -(abs(value) // 2)
        low, high = sorted((half, 2 * value or 1))
        return _INTEGERS, {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": "Auto"}
    try:
        number = float(hint)
    except ValueError:
        number = math.nan
    if not math.isfinite(2 * number):
        truths = next((sorted(words, reverse=True) for words in _TRUTHS if hint in words), [hint])
        return _CATEGORIES, {"Name": name, "Values": truths}
    scaling = "Auto"
    if 0 < number <= 1:
        scaling = "Logarithmic"
        bounds = (number / 10 or number, min(10 * number, 1.0))  # a tenth may round to 0
    else:
        first, second = sorted((number / 2, 2 * number or 1.0))
        bounds = (first, second)
    return _CONTINUOUS, {
        "Name": name,
        "MinValue": repr(bounds[0]),
        "MaxValue": repr(bounds[1]),
        "ScalingType": scaling,
    }
