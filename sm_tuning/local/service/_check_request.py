"""Rules over a whole CreateHyperParameterTuningJob request, in the order in which they are reported."""

from __future__ import annotations

from collections.abc import Iterator

from sm_tuning.local.service._autotune import filled_in, with_ranges_of_hints
from sm_tuning.local.service._check_definition import check_definition, check_places
from sm_tuning.local.service._check_ranges import check_budget, check_ranges
from sm_tuning.local.service._check_warm_start import check_warm_start
from sm_tuning.local.service._context import Context, Request
from sm_tuning.local.service._fault import invalid
from sm_tuning.local.service._limits import check_quotas, refuse_what_is_not_built
from sm_tuning.strategies import hyperband_config

MAX_VARIABLES = 48
"""Environment variables of all definitions together (API Reference, HyperParameterTrainingJobDefinition)."""


def checked(request: Request, context: Context) -> Request:
    """Check a request that fits the model, and return it with what Autotune fills in.

    Raises:
        Fault: for the first rule that is broken.
    """
    single = "TrainingJobDefinition" in request
    if single == ("TrainingJobDefinitions" in request):
        raise invalid(
            "You must choose just one of these definition types: TrainingJobDefinition or TrainingJobDefinitions."
        )
    request = with_ranges_of_hints(request)
    config = request["HyperParameterTuningJobConfig"]
    _check_strategy(request, config)
    check_tags(request.get("Tags", []))
    parts = list(_parts(request, config, single=single))
    for definition, objective, ranges in parts:
        static = definition.get("StaticHyperParameters", {})
        check_ranges(ranges, static, config["Strategy"], autotune="Autotune" in request)
        check_definition(definition, objective, ranges)
    request = filled_in(request)
    check_budget([ranges for _, _, ranges in parts], request["HyperParameterTuningJobConfig"])
    refuse_what_is_not_built(request)
    check_quotas(request, active=len(context.store.active_tuning_jobs()))
    check_warm_start(request, context)
    for definition, _, _ in parts:
        check_places(definition, context)
    return request


def _parts(request: Request, config: Request, *, single: bool) -> Iterator[tuple[Request, Request, Request]]:
    """Yield each definition with its objective and its ranges, wherever the two stand."""
    if single:
        definition = request["TrainingJobDefinition"]
        stray = [name for name in ("TuningObjective", "HyperParameterRanges") if name in definition]
        if stray:
            raise invalid(
                f"{' and '.join(stray)} are for TrainingJobDefinitions. With TrainingJobDefinition, give the objective "
                "and the ranges in HyperParameterTuningJobConfig."
            )
        objective = config.get("HyperParameterTuningJobObjective")
        if objective is None:
            raise invalid("HyperParameterTuningJobObjective is required with TrainingJobDefinition.")
        yield definition, objective, config.get("ParameterRanges", {})
        return
    stray = [name for name in ("HyperParameterTuningJobObjective", "ParameterRanges") if name in config]
    if stray:
        raise invalid(f"With TrainingJobDefinitions, give {' and '.join(stray)} in each definition.")
    names = [definition.get("DefinitionName") for definition in request["TrainingJobDefinitions"]]
    if None in names or len(set(names)) < len(names):
        raise invalid(f"Each of TrainingJobDefinitions needs a DefinitionName of its own, but they are {names}.")
    _check_together(request["TrainingJobDefinitions"])
    for definition in request["TrainingJobDefinitions"]:
        yield definition, definition["TuningObjective"], definition.get("HyperParameterRanges", {})


def _check_strategy(request: Request, config: Request) -> None:
    if "StrategyConfig" in config and config["Strategy"] != "Hyperband":
        raise invalid(f"StrategyConfig is for Strategy Hyperband only, but Strategy is {config['Strategy']}.")
    several = len(request.get("TrainingJobDefinitions", [])) > 1
    if several and config.get("TrainingJobEarlyStoppingType") == "Auto":
        raise invalid("TrainingJobEarlyStoppingType Auto is supported with a single training algorithm only.")
    if several and "WarmStartConfig" in request:
        raise invalid("WarmStartConfig is supported with a single training algorithm only.")
    if config["Strategy"] == "Hyperband":
        _check_hyperband(request, config)


def _check_hyperband(request: Request, config: Request) -> None:
    if config.get("TrainingJobEarlyStoppingType") == "Auto":
        raise invalid("With Strategy Hyperband, TrainingJobEarlyStoppingType must be Off: Hyperband stops jobs itself.")
    for definition in request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]:
        try:
            hyperband_config(config, definition.get("StaticHyperParameters", {}))
        except ValueError as e:
            raise invalid(str(e)) from e


def _check_together(definitions: list[Request]) -> None:
    """Check that the results of several definitions can be compared, and what they have in common is not too much."""
    for definition in definitions:
        if "TuningObjective" not in definition:
            raise invalid(f"TuningObjective is required in the definition {definition['DefinitionName']!r}.")
    types = {definition["DefinitionName"]: definition["TuningObjective"]["Type"] for definition in definitions}
    if len(set(types.values())) > 1:
        raise invalid(f"The objectives of all definitions must be of one type to be compared, but they are {types}.")
    variables = sum(len(definition.get("Environment", {})) for definition in definitions)
    if variables > MAX_VARIABLES:
        raise invalid(
            f"The number of environment variables of all definitions together, {variables}, exceeds the limit of "
            f"{MAX_VARIABLES}."
        )


def check_tags(tags: list[Request]) -> None:
    """Check tag keys.

    Raises:
        Fault: ValidationException where one is reserved or repeated.
    """
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        raise invalid(f"Tag keys must be unique, but they are {keys}.")
    reserved = [key for key in keys if key.lower().startswith("aws:")]
    if reserved:
        raise invalid(f"Tag keys that start with aws: are reserved, but these do: {reserved}.")
