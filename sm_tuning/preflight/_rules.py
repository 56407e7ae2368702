"""Rules of the service that a spec may break although each of its classes accepts it; quotas; and the cost.

Sources are the botocore model of CreateHyperParameterTuningJob, and the Developer Guide's pages on automatic model
tuning; each rule names its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sm_tuning._images import parse_image
from sm_tuning._wire import EPOCH_KEYS, HYPERBANDS, MOST_HYPERPARAMETERS, MOST_RESOURCE
from sm_tuning.description import Job
from sm_tuning.executor.algorithms import ALIASES, TUNABLE, Rules, rules_of
from sm_tuning.preflight._finding import Finding, place
from sm_tuning.spec import (
    Estimator,
    HyperbandConfig,
    Input,
    TrainingDefinition,
    Tuning,
    XGBoostEstimator,
    combinations,
    encode_plain,
)

#: Quotas [Developer Guide, automatic-model-tuning-limits]: the default, which AWS may raise for an account, and the
#: most that it grants.
DEFAULT_PARALLEL, MAX_PARALLEL = 10, 100
DEFAULT_JOBS = 750
MAX_JOBS = {"Random": 10_000}
MAX_ACTIVE_JOBS = 100
MAX_TUNING_DAYS = 30

_DAY, _HOUR = 24 * 3600, 3600

#: The bucket of an S3 URI: a name, or the ARN or alias of an access point [S3 User Guide, bucketnamingrules].
_BUCKET = re.compile(r"(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|arn:[a-z-]+:s3[a-z-]*:.+")

#: Regions of other partitions than ``aws`` by their beginning [botocore's partitions.json].
_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f",
    "eu-isoe-": "aws-iso-e",
    "eusc-": "aws-eusc",
}


# Rules --------------------------------------------------------------------------------------------------------------


def rule_problems(tuning: Tuning) -> Iterator[Finding]:
    """Yield the rules that a spec breaks."""
    yield from _impossible_uris(tuning)
    # Results of several algorithms are compared, so that one direction must hold [multiple-algorithm-hpo].
    types = {name: definition.objective_type for name, definition in tuning.definitions}
    if len(set(types.values())) > 1:
        message = f"the objectives of all estimators must have one objective_type to be compared, but they are {types}"
        yield Finding("objective-types", "error", "estimators", message, "give all the same objective_type")
    for name, definition in tuning.definitions:
        # A mode of the whole estimator binds its channels too [your-algorithms-training-algo-running-container].
        for key, channel in (definition.inputs or {}).items():
            mode = channel.input_mode or definition.estimator.input_mode
            if isinstance(channel, Input) and mode == "FastFile" and channel.s3_data_type != "S3Prefix":
                message = f"input_mode FastFile needs s3_data_type S3Prefix, but it is {channel.s3_data_type!r}"
                where = place(name, f"inputs.{key}")
                yield Finding("fastfile-prefix", "error", where, message, "give the channel input_mode: File")
        # AWS reserves these keys [API Reference, Tag].
        reserved = sorted(key for key in definition.estimator.tags if key.lower().startswith("aws:"))
        if reserved:
            message = f"tag keys that start with aws: are reserved, but {', '.join(reserved)} do"
            yield Finding("tags-reserved", "error", place(name, "estimator.tags"), message, "choose other keys")
        yield from _unpassable(name, definition)
        yield from _xgboost(name, definition)
        if tuning.strategy in HYPERBANDS:
            yield from _hyperband(tuning, name, definition)


def _impossible_uris(tuning: Tuning) -> Iterator[Finding]:
    """Yield S3 URIs whose bucket cannot exist, such as s3://None/train of a variable that was not set."""
    uris = {"ray.storage_path": (tuning.ray and tuning.ray.storage_path) or ""}
    for name, definition in tuning.definitions:
        for key, item in (definition.inputs or {}).items():
            uris[place(name, f"inputs.{key}")] = item.uri if isinstance(item, Input) else ""
        for field in ("source_dir", "code_location", "output_path", "checkpoint_s3_uri"):
            uris[place(name, f"estimator.{field}")] = getattr(definition.estimator, field) or ""
    for where, uri in uris.items():
        bucket = uri.removeprefix("s3://").partition("/")[0]
        # An empty bucket is refused by the API model.
        if uri.startswith("s3://") and bucket and not _BUCKET.fullmatch(bucket):
            rule = "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens"
            message = f"{uri!r} cannot exist: {rule}, but this one is {bucket!r}"
            yield Finding("bucket-name", "error", where, message, "write s3://bucket/prefix")


def _unpassable(name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """Yield texts that no process can receive: arguments and environment variables are C strings, NAME=VALUE."""
    estimator, where = definition.estimator, place(name, "estimator.environment")
    for key in sorted(key for key, value in estimator.environment.items() if "\0" in key + value):
        message = f"the variable {key!r} contains a NUL character, which no environment variable can"
        yield Finding("environment", "error", where, message, "leave the character out, or pass a file")
    if not estimator.is_script_mode:
        return  # other images read hyperparameters from a file
    choices = {key: tuned.values for key, tuned in definition.hyperparameter_ranges.items() if hasattr(tuned, "values")}
    texts = {**dict.fromkeys(hyperparameter_names(definition), ""), **estimator.hyperparameters, **choices}
    for key, value in sorted(texts.items()):
        problem = "has '=' in its name" if "=" in key else "contains a NUL character" if _has_nul([key, value]) else ""
        if problem:
            where = place(name, f"hyperparameter_ranges.{key}" if key in choices else "estimator.hyperparameters")
            message = f"the hyperparameter {key!r} {problem}, so that no script can get it as an environment variable"
            yield Finding("hyperparameter-text", "error", where, message, "rename it, or pass a file")


def _has_nul(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_nul, (*value, *value.values())))
    return any(map(_has_nul, value)) if isinstance(value, list | tuple) else isinstance(value, str) and "\0" in value


def partition_of(region: str) -> str:
    """Return the partition of a region, such as ``aws-cn``."""
    return next((name for begin, name in _PARTITIONS.items() if region.startswith(begin)), "aws")


def partition_problems(tuning: Tuning, region: str) -> Iterator[Finding]:
    """Yield roles, keys and other resources that belong to another partition than a region."""
    partition = partition_of(region)
    for name, definition in tuning.definitions:
        estimator = definition.estimator
        named: dict[str, object] = {
            f"estimator.{field}": getattr(estimator, field, None)
            for field in ("role", "output_kms_key", "volume_kms_key", "algorithm_name")
        }
        for key, channel in (definition.inputs or {}).items():
            for field in ("uri", "hub_content_arn", "dataset_arn"):
                named[f"inputs.{key}"] = getattr(channel, field, None) or named.get(f"inputs.{key}")
        for where, value in named.items():
            found = re.match(r"(?:s3://)?arn:(aws[a-z-]*):", str(value))
            if found and found[1] != partition:
                message = f"{value} belongs to the partition {found[1]}, but the region {region} to {partition}"
                fix = f"give one of {partition}, or choose another region"
                yield Finding("partition", "error", place(name, where), message, fix)


def request_problems(job: Job) -> Iterator[Finding]:
    """Yield the rules that a request breaks. It holds more than the spec: script mode adds hyperparameters."""
    for definition in job.definitions:
        total = len(definition.ranges) + len(definition.static) + 1
        if total > MOST_HYPERPARAMETERS:
            where = place(definition.name if job.several else None, "estimator.hyperparameters")
            message = (
                f"at most {MOST_HYPERPARAMETERS} hyperparameters, but with those that start the script and SageMaker's "
                f"own one they are {total}"
            )
            yield Finding("too-many-hyperparameters", "error", where, message, "pass a file in place of some of them")


def _xgboost(name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """Yield problems of AWS's XGBoost image, whose objective is one of its validation metrics [xgboost-tuning]."""
    estimator = definition.estimator
    if not isinstance(estimator, XGBoostEstimator) or not estimator.predefines_metrics:
        return
    image = parse_image(estimator.image_uri or "")
    rules = rules_of(estimator.version or (image.tag if image else ""))
    metric = definition.objective_metric_name or ""
    part, _, measure = metric.partition(":")
    known = sorted({item["Name"].partition(":")[2] for item in rules.metric_definitions})
    if part != "validation" or measure not in known:
        message = f"the objective {metric!r} is not a metric that AWS's XGBoost image defines, in script mode too"
        fix = "use validation: and one of " + ", ".join(known)
        yield Finding("objective-unknown", "error", place(name, "objective_metric_name"), message, fix)
    elif "validation" not in (definition.inputs or {}) and not estimator.is_script_mode:
        message = f"the objective {metric!r} is computed on a channel named validation, which is missing"
        yield Finding("objective-channel", "error", place(name, "inputs"), message, "add a channel validation")
    yield from _xgboost_names(name, definition, rules)
    if estimator.is_script_mode:
        return
    if "num_round" not in hyperparameter_names(definition):
        message = "the built-in XGBoost needs the hyperparameter num_round"
        fix = "add num_round to estimator.hyperparameters"
        yield Finding("xgboost-num-round", "error", place(name, "estimator.hyperparameters"), message, fix)
        return
    # The container refuses what is left, after the machines have started and the data was downloaded.
    static = {key: encode_plain(value) for key, value in estimator.hyperparameters.items()}
    for message in rules.problems({key: text for key, text in static.items() if key in rules.names}, {}):
        if "num_round" not in message:  # it may be tuned
            where = place(name, "estimator.hyperparameters")
            fix = "see the hyperparameters of this version in the Developer Guide, xgboost_hyperparameters"
            yield Finding("xgboost-hyperparameter", "error", where, message, fix)


def _xgboost_names(name: str | None, definition: TrainingDefinition, rules: Rules) -> Iterator[Finding]:
    """Yield hyperparameters that this version of the image does not have, and those that are not tunable."""
    if rules.is_first:
        return  # its rules are not public
    is_script = definition.estimator.is_script_mode
    for key in sorted(set(definition.hyperparameter_ranges) | set(definition.auto_parameters)):
        where = place(name, f"hyperparameter_ranges.{key}")
        if key not in rules.names:
            message = f"the XGBoost image has no hyperparameter {key!r}: it cannot be tuned, in script mode too"
            fix = f"tune one of {', '.join(sorted(TUNABLE))}, or use an image of your own"
            yield Finding("xgboost-tuned", "error", where, message, fix)
        elif ALIASES.get(key, key) not in TUNABLE:
            message = f"AWS documents {key!r} as a hyperparameter of XGBoost that is not tunable: it may be refused"
            fix = f"tune one of {', '.join(sorted(TUNABLE))}"
            yield Finding("xgboost-tuned", "advice", where, message, fix)
    for key in sorted(set(definition.estimator.hyperparameters) - rules.names):
        where = place(name, f"estimator.hyperparameters.{key}")
        message = f"Extraneous hyperparameter found: {key}. This version of the XGBoost container does not have it"
        fix = "leave it out"
        if is_script:
            # Whether the service refuses it is not known: its rules for tuned ones come from the image.
            message = (
                f"the XGBoost image has no hyperparameter {key!r}, which the service may refuse, in script mode too"
            )
            fix = "pass it in estimator.environment, or as a constant in the script"
        yield Finding("xgboost-hyperparameter", "advice" if is_script else "error", where, message, fix)


def hyperparameter_names(definition: TrainingDefinition) -> set[str]:
    """Return the names of all hyperparameters, static and tuned."""
    static = definition.estimator.hyperparameters
    return {*static, *definition.hyperparameter_ranges, *definition.auto_parameters}


def _hyperband(tuning: Tuning, name: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """Yield problems of a max_resource that the service infers: it obeys the limits of one that is given."""
    config = tuning.strategy_config if isinstance(tuning.strategy_config, HyperbandConfig) else None
    static = definition.estimator.hyperparameters
    key = next((key for key in EPOCH_KEYS if key in static), None)
    if key is None or (config is not None and config.max_resource is not None):
        return
    where, value = place(name, f"estimator.hyperparameters.{key}"), static[key]
    text = str(value)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        message = f"Hyperband takes max_resource from {key}, which must be a whole number above 0, but is {value!r}"
        yield Finding("hyperband-resource", "error", where, message, "give strategy_config.max_resource")
    elif int(text) > MOST_RESOURCE:
        message = f"Hyperband takes max_resource from {key}, which may be {MOST_RESOURCE} at most, but is {text}"
        yield Finding("hyperband-cap", "error", where, message, f"train for {MOST_RESOURCE} epochs or fewer")
    elif config is not None and config.min_resource is not None and config.min_resource > int(text):
        message = f"min_resource <= max_resource must hold, but they are {config.min_resource} and {text} (from {key})"
        yield Finding("hyperband-order", "error", "strategy_config.min_resource", message, f"give {text} or less")


# Quotas -------------------------------------------------------------------------------------------------------------


def quota_problems(tuning: Tuning) -> Iterator[Finding]:
    """Yield errors for more than AWS grants, and advice for more than the default, which may have been raised."""
    most = MAX_JOBS.get(tuning.strategy, DEFAULT_JOBS)
    for code, where, asked, default, limit in (
        ("parallel-quota", "max_parallel_jobs", tuning.max_parallel_jobs, DEFAULT_PARALLEL, MAX_PARALLEL),
        ("jobs-quota", "max_jobs", number_of_jobs(tuning) or 0, DEFAULT_JOBS, most),
    ):
        if asked > limit:
            message = f"the service allows {limit} at most, but this asks for {asked}"
            yield Finding(code, "error", where, message, f"give {limit} or less")
        elif asked > default:
            message = f"the default quota is {default}, but this asks for {asked}"
            fix = "lower it, or have the quota raised in the Service Quotas console"
            yield Finding(code, "advice", where, message, fix)
    whole, longest = tuning.max_runtime_in_seconds or 0, MAX_TUNING_DAYS * _DAY
    if whole > longest:
        message = (
            f"a tuning job runs for {MAX_TUNING_DAYS} days at most, so that {whole} seconds ({whole / _DAY:g} days) "
            "are never used up"
        )
        yield Finding("runtime-quota", "advice", "max_runtime_in_seconds", message, f"give {longest}")
    for name, definition in tuning.definitions:
        wait = definition.estimator.max_wait
        if wait is not None and wait > longest:
            message = f"a training job ends after {MAX_TUNING_DAYS} days in total, but max_wait is {wait} seconds"
            yield Finding("wait-quota", "error", place(name, "estimator.max_wait"), message, f"give {longest} or less")


def number_of_jobs(tuning: Tuning) -> int | None:
    """Return the largest number of training jobs, for a grid that of its combinations; None if it is open."""
    if tuning.max_jobs is not None or tuning.strategy != "Grid":
        return tuning.max_jobs
    conditions = {} if tuning.study is None else tuning.study.when
    return sum(combinations(definition, conditions) or 0 for _, definition in tuning.definitions)


# Cost ---------------------------------------------------------------------------------------------------------------


class CostBound(NamedTuple):
    """The highest cost of a tuning job.

    Attributes:
        instance_hours: of all machines together; None if nothing limits the job.
        cost: in dollars; None if nothing limits the job, or a price is not known.
        unpriced: instance types whose price is not known.
    """

    instance_hours: float | None
    cost: float | None
    unpriced: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.instance_hours is None:
            return "nothing bounds how long the job may run"
        hours = f"at most {self.instance_hours:,.4g} instance-hours"
        if self.cost is not None:
            return f"{hours}, ${self.cost:,.2f}"
        return f"{hours} (no price for {', '.join(self.unpriced)})"


def cost_bound(tuning: Tuning, prices: Mapping[str, float]) -> CostBound:
    """Return the most that a tuning job can take, in instance-hours and in money.

    In the worst case every training job runs for ``max_run`` on the dearest machines that it may use. The wall-clock
    limit of the whole job, if there is one, bounds the jobs that run at once. Attempts after an internal error share
    ``max_run`` [API Reference, StoppingCondition], and waiting for spot instances is not billed. Uploading a model
    after the end of ``max_run``, storage and data transfer are not included.

    Args:
        tuning: what to tune.
        prices: dollars an hour by instance type; see ``sm_tuning._prices.read_prices``.
    """
    jobs, whole, parallel = number_of_jobs(tuning), tuning.max_runtime_in_seconds, tuning.max_parallel_jobs
    runs = [(fleets_of(definition.estimator), definition.estimator.max_run) for _, definition in tuning.definitions]
    types = dict.fromkeys(kind for fleets, _ in runs for fleet in fleets for kind in fleet)
    unpriced = tuple(kind for kind in types if kind not in prices)
    hours: list[float] = []
    costs: list[float] = []
    for fleets, run in runs:
        bounds = [jobs * run] if jobs is not None else []
        bounds += [min(parallel, jobs or parallel) * whole] if whole is not None else []
        if not bounds:
            return CostBound(None, None, unpriced)
        # Each definition may get all the jobs, so that the dearest definition counts.
        longest = min(bounds) / _HOUR
        hours.append(longest * max(sum(fleet.values()) for fleet in fleets))
        if not unpriced:
            costs.append(longest * max(sum(prices[kind] * n for kind, n in fleet.items()) for fleet in fleets))
    return CostBound(max(hours), None if unpriced else max(costs), unpriced)


def cost_problems(bound: CostBound, max_cost: float | None) -> Iterator[Finding]:
    """Yield an error if the job may exceed max_cost, or has no upper bound."""
    if max_cost is None:
        return
    if bound.cost is not None:
        if bound.cost > max_cost:
            message = f"the job may cost ${bound.cost:,.2f} ({bound}), more than ${max_cost:,.2f}"
            fix = "lower max_jobs or max_run, give max_runtime_in_seconds, or use smaller machines"
            yield Finding("max-cost", "error", "max_jobs", message, fix)
    elif bound.instance_hours is None:
        message = f"{bound}, so that ${max_cost:,.2f} cannot be guaranteed"
        yield Finding("cost-unbounded", "error", "max_jobs", message, "give max_jobs or max_runtime_in_seconds")
    else:
        message = f"there is no price for {', '.join(bound.unpriced)}, so that ${max_cost:,.2f} cannot be guaranteed"
        fix = "give prices (--prices FILE, prices=, or SM_TUNING_PRICES)"
        yield Finding("price-unknown", "error", "estimator.instance_type", message, fix)


def fleets_of(estimator: Estimator) -> list[dict[str, int]]:
    """Return the machines of one training job, as counts by type; several fleets if the service may choose."""
    if estimator.instance_configs:
        return [{choice.instance_type: choice.instance_count} for choice in estimator.instance_configs]
    if estimator.instance_preferences:
        shared = estimator.instance_count
        return [{choice.instance_type: choice.instance_count or shared} for choice in estimator.instance_preferences]
    config = estimator.resource_config
    if config is None:
        return [{str(estimator.instance_type): estimator.instance_count}]
    groups = config.get("InstanceGroups")
    if groups:
        fleet: dict[str, int] = {}
        for group in groups:
            kind = str(group["InstanceType"])
            fleet[kind] = fleet.get(kind, 0) + int(group["InstanceCount"])
        return [fleet]
    choices = config.get("InstancePreferences") or [config]
    shared = config.get("InstanceCount") or 1
    return [
        {str(choice.get("InstanceType", "unknown")): int(choice.get("InstanceCount") or shared)} for choice in choices
    ]
