"""The operations on tuning jobs, and the rules of a request for one."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from sm_tuning._statuses import TuningStatus
from sm_tuning.local.service._autotune import filled_in, with_ranges_of_hints
from sm_tuning.local.service._context import Context, Doc, Fault, Request, invalid, list_query, not_found
from sm_tuning.local.service._documents import trial_summary, tuning_description, tuning_document, tuning_summary
from sm_tuning.local.service._rules import (
    check_budget,
    check_definition,
    check_places,
    check_quotas,
    check_ranges,
    refuse_unsupported,
)
from sm_tuning.local.service._warm_start import check_warm_start
from sm_tuning.local.store import NameTaken
from sm_tuning.strategies import hyperband_config

_NAME = "HyperParameterTuningJobName"
_MAX_VARIABLES = 48  # environment variables of all definitions [API Reference, HyperParameterTrainingJobDefinition]


def create_tuning_job(context: Context, request: Request) -> Doc:
    """CreateHyperParameterTuningJob; the request is checked completely first."""
    if context.store.tuning_job(request[_NAME]) is not None:
        raise _taken(request[_NAME])
    request = checked(request, context)
    seed = request["HyperParameterTuningJobConfig"].get("RandomSeed")
    doc = tuning_document(
        request,
        context.identity,
        now=context.clock(),
        seed=secrets.randbelow(2**31) if seed is None else seed,
    )
    try:
        context.store.create_tuning_job(doc, request.get("Tags", []))
    except NameTaken as e:  # a request with the same name came in between
        raise _taken(request[_NAME]) from e
    context.engine.submit(request[_NAME])
    return {"HyperParameterTuningJobArn": doc["HyperParameterTuningJobArn"]}


def describe_tuning_job(context: Context, request: Request) -> Doc:
    """DescribeHyperParameterTuningJob."""
    return tuning_description(context, _found(context, request))


def list_tuning_jobs(context: Context, request: Request) -> Doc:
    """ListHyperParameterTuningJobs."""
    docs, token = context.store.page_tuning_jobs(list_query(request, sort_by="Name"))
    page: Doc = {"HyperParameterTuningJobSummaries": [tuning_summary(context, doc) for doc in docs]}
    return page if token is None else {**page, "NextToken": token}


def list_trials(context: Context, request: Request) -> Doc:
    """ListTrainingJobsForHyperParameterTuningJob."""
    tuning = _found(context, request)
    query = list_query(request, sort_by="Name", tuning_job=tuning[_NAME])
    docs, token = context.store.page_training_jobs(query)
    page: Doc = {"TrainingJobSummaries": [trial_summary(doc, tuning) for doc in docs]}
    return page if token is None else {**page, "NextToken": token}


def stop_tuning_job(context: Context, request: Request) -> Doc:
    """StopHyperParameterTuningJob; stopping a job in status Stopping is not an error."""
    doc = _found(context, request)
    status = TuningStatus(doc["HyperParameterTuningJobStatus"])
    if status.is_terminal:
        raise invalid(
            f"The request was rejected because the hyperparameter tuning job, {doc[_NAME]}, is already in status "
            f"{status}."
        )
    context.engine.stop(doc[_NAME])
    return {}


def delete_tuning_job(context: Context, request: Request) -> Doc:
    """DeleteHyperParameterTuningJob, without its training jobs, objects and logs."""
    doc = _found(context, request)
    status = TuningStatus(doc["HyperParameterTuningJobStatus"])
    if not status.is_terminal:
        raise invalid(
            f"The hyperparameter tuning job, {doc[_NAME]}, cannot be deleted: it is not in a terminal state, but in "
            f"status {status}."
        )
    context.store.delete_tuning_job(doc[_NAME])
    return {}


def _found(context: Context, request: Request) -> Doc:
    doc = context.store.tuning_job(request[_NAME])
    if doc is None:
        raise not_found(f"Amazon SageMaker can't find a tuning job with name {request[_NAME]}. Specify a valid name.")
    return doc


def _taken(name: str) -> Fault:
    return Fault(
        "ResourceInUse",
        f"A hyperparameter tuning job with the name, {name}, already exists. Choose a different name.",
    )


def checked(request: Request, context: Context) -> Request:
    """Check a request that matches the model, and return it with the values of Autotune.

    Raises:
        Fault: for the first violation.
    """
    single = "TrainingJobDefinition" in request
    if single == ("TrainingJobDefinitions" in request):
        raise invalid(
            "You must choose just one of these definition types: TrainingJobDefinition or TrainingJobDefinitions."
        )
    request = with_ranges_of_hints(request)
    config = request["HyperParameterTuningJobConfig"]
    if "StrategyConfig" in config and config["Strategy"] != "Hyperband":
        raise invalid(f"StrategyConfig is for Strategy Hyperband only, but Strategy is {config['Strategy']}.")
    several = len(request.get("TrainingJobDefinitions", [])) > 1
    if several and config.get("TrainingJobEarlyStoppingType") == "Auto":
        raise invalid("TrainingJobEarlyStoppingType Auto is supported with a single training algorithm only.")
    if several and "WarmStartConfig" in request:
        raise invalid("WarmStartConfig is supported with a single training algorithm only.")
    if config["Strategy"] == "Hyperband":
        if config.get("TrainingJobEarlyStoppingType") == "Auto":
            raise invalid(
                "With Strategy Hyperband, TrainingJobEarlyStoppingType must be Off: Hyperband stops jobs itself."
            )
        for definition in request.get("TrainingJobDefinitions") or [request["TrainingJobDefinition"]]:
            try:
                hyperband_config(config, definition.get("StaticHyperParameters", {}))
            except ValueError as e:
                raise invalid(str(e)) from e
    check_tags(request.get("Tags", []))
    parts = list(_parts(request, config, single=single))
    for definition, objective, ranges in parts:
        static = definition.get("StaticHyperParameters", {})
        check_ranges(ranges, static, config["Strategy"], autotune="Autotune" in request)
        check_definition(definition, objective, ranges)
    request = filled_in(request)
    check_budget([ranges for _, _, ranges in parts], request["HyperParameterTuningJobConfig"])
    refuse_unsupported([definition for definition, _, _ in parts])
    # The rules that need the store or S3 come last, as they are the slowest.
    check_quotas(request, active=len(context.store.active_tuning_jobs()))
    check_warm_start(request, context)
    for definition, _, _ in parts:
        check_places(definition, context)
    return request


def _parts(request: Request, config: Request, *, single: bool) -> Iterator[tuple[Request, Request, Request]]:
    """Yield each definition with its objective and ranges, which may be in the configuration."""
    if single:
        definition = request["TrainingJobDefinition"]
        misplaced = [name for name in ("TuningObjective", "HyperParameterRanges") if name in definition]
        if misplaced:
            raise invalid(
                f"Only TrainingJobDefinitions take {' and '.join(misplaced)}. With TrainingJobDefinition, give the "
                "objective and the ranges in HyperParameterTuningJobConfig."
            )
        objective = config.get("HyperParameterTuningJobObjective")
        if objective is None:
            raise invalid("HyperParameterTuningJobObjective is required with TrainingJobDefinition.")
        yield definition, objective, config.get("ParameterRanges", {})
        return
    misplaced = [name for name in ("HyperParameterTuningJobObjective", "ParameterRanges") if name in config]
    if misplaced:
        raise invalid(f"With TrainingJobDefinitions, give {' and '.join(misplaced)} in each definition.")
    names = [definition.get("DefinitionName") for definition in request["TrainingJobDefinitions"]]
    if None in names or len(set(names)) < len(names):
        raise invalid(f"Each of TrainingJobDefinitions needs a DefinitionName of its own, but they are {names}.")
    _check_together(request["TrainingJobDefinitions"])
    for definition in request["TrainingJobDefinitions"]:
        yield definition, definition["TuningObjective"], definition.get("HyperParameterRanges", {})


def _check_together(definitions: list[Request]) -> None:
    """Check that the objectives of several definitions are comparable, and their common limit of variables."""
    for definition in definitions:
        if "TuningObjective" not in definition:
            raise invalid(f"TuningObjective is required in the definition {definition['DefinitionName']!r}.")
    types = {definition["DefinitionName"]: definition["TuningObjective"]["Type"] for definition in definitions}
    if len(set(types.values())) > 1:
        raise invalid(f"The objectives of all definitions must be of one type to be compared, but they are {types}.")
    variables = sum(len(definition.get("Environment", {})) for definition in definitions)
    if variables > _MAX_VARIABLES:
        raise invalid(
            f"The number of environment variables of all definitions together, {variables}, exceeds the limit of "
            f"{_MAX_VARIABLES}."
        )


def check_tags(tags: list[Request]) -> None:
    """Check tag keys.

    Raises:
        Fault: ValidationException if a key is reserved or repeated.
    """
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        raise invalid(f"Tag keys must be unique, but they are {keys}.")
    reserved = [key for key in keys if key.lower().startswith("aws:")]
    if reserved:
        raise invalid(f"Tag keys that start with aws: are reserved, but these do: {reserved}.")
