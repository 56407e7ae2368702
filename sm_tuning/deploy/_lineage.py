"""What a model package says of where its model comes from, within the registry's limits.

CustomerMetadataProperties has at most 50 entries, with keys of 128 and values of 256 letters, digits, spaces and
``_.:/=+-@`` [botocore model, CustomerMetadataMap].
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning._masking import is_secret
from sm_tuning._wire import is_reserved_hyperparameter
from sm_tuning.deploy._best import BestModel

#: Where a package says which training job its model is from: by this it is found again.
TRAINING_JOB = "sm-tuning:training-job"
#: How many entries found no room.
LEFT_OUT = "sm-tuning:left-out"
#: Stands for a value that looks like a secret; the registry takes no asterisks.
MASKED = "masked"

_MAX_ENTRIES, _MAX_KEY, _MAX_VALUE = 50, 128, 256
_CUT = "..."


def lineage(model: BestModel, own: Mapping[str, str] | None = None) -> dict[str, str]:
    """The metadata of a model package: what the user gives, the jobs, the objective, hyperparameters, metrics, data.

    Hyperparameters that look like secrets are masked; characters that the registry does not take become ``_``, and
    what is too long is cut. When there are too many entries the last ones are left out, and one says how many.

    Args:
        model: the model.
        own: the user's entries.

    Raises:
        SpecError: the registry does not take one of the user's entries.
    """
    given = dict(own or {})
    problems = list(_problems(given))
    if problems:
        raise SpecError(problems)
    found = dict(_facts(model))
    entries = given | {key: value for key, value in found.items() if key not in given}
    if len(entries) <= _MAX_ENTRIES:
        return entries
    kept = dict(list(entries.items())[: _MAX_ENTRIES - 1])
    return {**kept, LEFT_OUT: str(len(entries) - len(kept))}


def _problems(given: Mapping[str, str]) -> Iterator[str]:
    if len(given) > _MAX_ENTRIES // 2:
        yield f"metadata: at most {_MAX_ENTRIES // 2} entries, to leave room for the lineage, but got {len(given)}"
    for key, value in given.items():
        if key.startswith("sm-tuning:"):
            yield f"metadata: keys that begin with sm-tuning: are set for you, but got {key!r}"
        if not key or clean(key, _MAX_KEY) != key:
            yield f"metadata: a key has 1 to {_MAX_KEY} letters, digits, spaces and _.:/=+-@, but got {key!r}"
        if not value or clean(value, _MAX_VALUE) != value:
            yield (
                f"metadata: a value has 1 to {_MAX_VALUE} letters, digits, spaces and _.:/=+-@, but {key!r} has "
                + (MASKED if is_secret(key, value) else repr(value))
            )


def _facts(model: BestModel) -> Iterator[tuple[str, str]]:
    """All entries, the most telling first; none is empty."""
    for key, value in _every(model):
        text = clean(str(value), _MAX_VALUE)
        if text:
            yield clean(key, _MAX_KEY), text


def _every(model: BestModel) -> Iterator[tuple[str, Any]]:
    job, best, training = model.job, model.best, model.training
    yield "sm-tuning:tuning-job", job["HyperParameterTuningJobArn"]
    yield TRAINING_JOB, training["TrainingJobArn"]
    if model.spec_hash:
        yield "sm-tuning:spec-hash", model.spec_hash
    yield "sm-tuning:objective", best.metric_name
    yield "sm-tuning:objective-type", _direction(model)
    yield "sm-tuning:objective-value", repr(best.objective_value)
    yield "sm-tuning:strategy", job["HyperParameterTuningJobConfig"]["Strategy"]
    if best.definition_name:
        yield "sm-tuning:definition", best.definition_name
    algorithm = training["AlgorithmSpecification"]
    yield "sm-tuning:algorithm", algorithm.get("TrainingImage") or algorithm.get("AlgorithmName", "")
    yield from ((f"hyperparameter:{name}", _shown(name, value)) for name, value in best.hyperparameters.items())
    yield from ((f"metric:{name}", repr(value)) for name, value in final_metrics(training).items())
    for channel in training.get("InputDataConfig", ()):
        yield f"data:{channel['ChannelName']}", channel["DataSource"].get("S3DataSource", {}).get("S3Uri", "")
    for name, value in training.get("HyperParameters", {}).items():
        if name not in best.hyperparameters and not is_reserved_hyperparameter(name):
            yield f"hyperparameter:{name}", _shown(name, value.strip('"'))


def final_metrics(training: Mapping[str, Any]) -> dict[str, float]:
    """The last value of each metric of a training job, without the service's own copy of the objective."""
    metrics = {one["MetricName"]: float(one["Value"]) for one in training.get("FinalMetricDataList", ())}
    metrics.pop("ObjectiveMetric", None)
    return metrics


def _direction(model: BestModel) -> str:
    objective = model.job["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective", {})
    for one in model.job.get("TrainingJobDefinitions", ()):
        if one.get("DefinitionName") == model.best.definition_name:
            objective = one.get("TuningObjective", objective)
    return str(objective.get("Type", ""))


def _shown(name: str, value: Any) -> Any:
    return MASKED if is_secret(name, value) else value


def clean(text: str, size: int) -> str:
    """The text as the registry takes it: other characters replaced, and cut when it is too long."""
    plain = re.sub(r"[^\w .:/=+\-@]", "_", text).strip()
    return plain if len(plain) <= size else plain[: size - len(_CUT)] + _CUT
