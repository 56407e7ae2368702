"""Rules over a whole CreateHyperParameterTuningJob request, in the order in which they are reported."""

from __future__ import annotations

from collections.abc import Iterator

from sm_tuning.local.service._check_definition import check_definition, check_places
from sm_tuning.local.service._check_ranges import check_ranges
from sm_tuning.local.service._context import Context, Request
from sm_tuning.local.service._fault import invalid
from sm_tuning.local.service._limits import check_quotas, refuse_what_is_not_built

# Static hyperparameters from which Hyperband takes a MaxResource that is not given (HyperbandStrategyConfig).
_EPOCH_KEYS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")


def check_request(request: Request, context: Context) -> None:
    """Check a request that fits the model.

    Raises:
        Fault: for the first rule that is broken.
    """
    config = request["HyperParameterTuningJobConfig"]
    single = "TrainingJobDefinition" in request
    if single == ("TrainingJobDefinitions" in request):
        raise invalid(
            "You must choose just one of these definition types: TrainingJobDefinition or TrainingJobDefinitions."
        )
    _check_strategy(request, config)
    check_tags(request.get("Tags", []))
    if "Autotune" not in request:
        for definition, objective, ranges in _parts(request, config, single=single):
            check_ranges(ranges, definition.get("StaticHyperParameters", {}), config)
            check_definition(definition, objective, ranges)
    refuse_what_is_not_built(request)
    check_quotas(request)
    check_places(request["TrainingJobDefinition"], context)


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
    for definition in request["TrainingJobDefinitions"]:
        if "TuningObjective" not in definition:
            raise invalid(f"TuningObjective is required in the definition {definition['DefinitionName']!r}.")
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
    settings = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    low, high = settings.get("MinResource"), settings.get("MaxResource")
    if low is not None and high is not None and low > high:
        raise invalid(f"MinResource must not exceed MaxResource, but they are {low} and {high}.")
    definitions = request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]
    for definition in definitions:
        static = definition.get("StaticHyperParameters", {})
        if high is None and not any(key in static for key in _EPOCH_KEYS):
            raise invalid(
                "MaxResource parameter is not provided and could not be inferred from provided static "
                "hyperparameters of TrainingJobDefinition."
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
