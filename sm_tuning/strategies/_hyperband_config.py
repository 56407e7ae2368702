"""Hyperband's resources: how many emissions of the objective a trial may make, and how many it makes unjudged.

API Reference, HyperbandStrategyConfig: a MaxResource that is not given is inferred from a static hyperparameter
that names a number of epochs, and is 20,000 at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EPOCH_KEYS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
MOST_RESOURCE = 20_000


def hyperband_config(config: Mapping[str, Any], static: Mapping[str, str]) -> dict[str, int]:
    """Return what the Hyperband strategy is made with.

    Args:
        config: the HyperParameterTuningJobConfig.
        static: the static hyperparameters of the definition.

    Raises:
        ValueError: resources that cannot be; the text is for the caller of the API.
    """
    given = (config.get("StrategyConfig") or {}).get("HyperbandStrategyConfig") or {}
    low, high = given.get("MinResource"), given.get("MaxResource")
    source = "MaxResource"
    if high is None:
        source, high = _inferred(static)
    if high > MOST_RESOURCE:
        raise ValueError(f"{source} must not exceed {MOST_RESOURCE} with Strategy Hyperband, but it is {high}.")
    if low is not None and low > high:
        raise ValueError(f"MinResource must not exceed {source}, but they are {low} and {high}.")
    return {"max_resource": high} if low is None else {"min_resource": low, "max_resource": high}


def _inferred(static: Mapping[str, str]) -> tuple[str, int]:
    """Return the hyperparameter that names the epochs, and its value; JSON quotes of the SDK v2 are no part of it."""
    for key in EPOCH_KEYS:
        text = static.get(key, "").strip('" ')
        if text.isascii() and text.isdigit() and int(text) > 0:
            return key, int(text)
    raise ValueError(
        "MaxResource parameter is not provided and could not be inferred from provided static hyperparameters of "
        "TrainingJobDefinition."
    )
