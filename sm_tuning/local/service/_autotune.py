"""Autotune: what the service fills in when the request leaves it to automatic model tuning.

The Developer Guide (automatic-model-tuning-define-ranges) gives the rule for integers: half of the hint to twice
the hint. For other hints it gives none, and for the limits no numbers; those are choices made here, each said
beside it. The hints stay in the description beside the ranges that were made of them.
"""

from __future__ import annotations

import copy
import math
import re

from sm_tuning._wire import RANGE_LISTS
from sm_tuning.local.service._context import Doc, Request
from sm_tuning.local.service._limits import DEFAULT_MAX_JOBS
from sm_tuning.local.service._ranges import combinations

TRIALS_A_DIMENSION = 10
FEWEST_TRIALS = 20
RETRIES = 3
_INTEGERS, _CONTINUOUS, _CATEGORIES = RANGE_LISTS
_TRUTHS = ({"true", "false"}, {"True", "False"}, {"TRUE", "FALSE"})


def with_ranges_of_hints(request: Request) -> Request:
    """Return a request with the ranges that its hints become, or the request itself without Autotune."""
    if "Autotune" not in request:
        return request
    filled = copy.deepcopy(dict(request))
    for ranges in _all_ranges(filled):
        for hint in ranges.get("AutoParameters", []):
            kind, found = range_of(hint["Name"], hint["ValueHint"])
            ranges.setdefault(kind, []).append(found)
    return filled


def filled_in(request: Request) -> Request:
    """Return a request, whose ranges are checked, with everything else that Autotune finds.

    Strategy and MaxParallelTrainingJobs stay as they are: the API does not let a request leave them out.
    """
    if "Autotune" not in request:
        return request
    filled = copy.deepcopy(dict(request))
    for definition in filled.get("TrainingJobDefinitions") or [filled["TrainingJobDefinition"]]:
        definition.setdefault("RetryStrategy", {"MaximumRetryAttempts": RETRIES})
    # The number of training jobs is ten for each tuned hyperparameter, 20 at least, and never more than there are
    # combinations. Early stopping is on where it may be: not for Hyperband, nor for several definitions.
    config = filled["HyperParameterTuningJobConfig"]
    every = _all_ranges(filled)
    dimensions = sum(len(ranges.get(kind, [])) for ranges in every for kind in RANGE_LISTS)
    wanted = min(max(FEWEST_TRIALS, TRIALS_A_DIMENSION * dimensions), DEFAULT_MAX_JOBS)
    sizes = [combinations(ranges) for ranges in every]
    total = sum(size for size in sizes if size is not None) if None not in sizes else math.inf
    limits = config["ResourceLimits"]
    if config["Strategy"] != "Grid":
        limits["MaxNumberOfTrainingJobs"] = int(min(limits.get("MaxNumberOfTrainingJobs", wanted), max(1, total)))
    stops_by_itself = config["Strategy"] == "Hyperband" or len(every) > 1
    config.setdefault("TrainingJobEarlyStoppingType", "Off" if stops_by_itself else "Auto")
    criteria = config.setdefault("TuningJobCompletionCriteria", {})
    criteria.setdefault("ConvergenceDetected", {"CompleteOnConvergence": "Enabled"})
    return filled


def _all_ranges(request: Doc) -> list[Doc]:
    """Return the ranges of each definition, made where there are none."""
    if "TrainingJobDefinition" in request:
        return [request["HyperParameterTuningJobConfig"].setdefault("ParameterRanges", {})]
    return [definition.setdefault("HyperParameterRanges", {}) for definition in request["TrainingJobDefinitions"]]


def range_of(name: str, hint: str) -> tuple[str, Doc]:
    """Return the list and the range that a hint becomes.

    Integers: half to twice the hint (0 becomes 0 to 1). Decimals up to 1, which are mostly rates and shares: a
    tenth of the hint to ten times the hint, 1 at most, on the logarithmic scale. Larger decimals: half to twice;
    0.0 becomes 0.0 to 1.0. A truth value becomes both; any other text has one choice, itself.
    """
    if re.fullmatch(r"[+-]?\d+", hint):
        value = int(hint)
        low, high = sorted((_half(value), 2 * value or 1))
        return _INTEGERS, {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": "Auto"}
    number = _decimal(hint)
    if number is not None:
        return _CONTINUOUS, {"Name": name, **_decimal_range(number)}
    both = next((sorted(truths, reverse=True) for truths in _TRUTHS if hint in truths), [hint])
    return _CATEGORIES, {"Name": name, "Values": both}


def _half(value: int) -> int:
    """Half of an integer, towards zero, and no less than 1 for what is positive."""
    half = abs(value) // 2
    return max(1, half) if value > 0 else -half


def _decimal(hint: str) -> float | None:
    try:
        number = float(hint)
    except ValueError:
        return None
    return number if math.isfinite(2 * number) else None


def _decimal_range(number: float) -> dict[str, str]:
    if 0 < number <= 1:
        low, high, scaling = number / 10 or number, min(10 * number, 1.0), "Logarithmic"  # a tenth may round to 0
    else:
        (low, high), scaling = sorted((number / 2, 2 * number or 1.0)), "Auto"
    return {"MinValue": repr(low), "MaxValue": repr(high), "ScalingType": scaling}
