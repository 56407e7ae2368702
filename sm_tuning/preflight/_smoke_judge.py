"""What a short trial proves, and what went wrong with it."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from sm_tuning._errors import ServiceError
from sm_tuning.aws import Aws, is_missing, split_uri
from sm_tuning.preflight._finding import Finding, place
from sm_tuning.preflight._shorten import lengths
from sm_tuning.preflight._smoke_run import Run, objects
from sm_tuning.spec import TrainingDefinition

_TAIL = 20

#: Models beyond this are not opened: that they are there is enough.
_BIG = 64 * 1024 * 1024

#: By any of these a script may find its channels (aws/sagemaker-training-toolkit; the container contract).
_CHANNEL_WORDS = (
    "SM_CHANNELS",
    "SM_INPUT_DIR",
    "SM_TRAINING_ENV",
    "SM_INPUT_DATA_CONFIG",
    "/opt/ml/input",
    "input/data",
    "inputdataconfig",
    "Environment(",
)


def judge(
    aws: Aws, key: str | None, definition: TrainingDefinition, first: Run, epochs: int
) -> Iterator[Finding | str]:
    """Findings, and sentences about what works.

    Args:
        aws: where it ran.
        key: the algorithm, when there are several.
        definition: its definition in the spec.
        first: the trial.
        epochs: how many it was to train.
    """
    channels = ", ".join(definition.inputs or {}) or "none"
    if not first.is_complete:
        yield _failure(key, first)
    else:
        yield f"the script ran to its end (channels: {channels})"
    yield from _metrics(key, definition, first)
    if first.is_complete:
        yield from _emission(key, definition, first, epochs)
        yield from _model(aws, key, first)


def judge_resumed(
    key: str | None, definition: TrainingDefinition, runs: tuple[Run, Run], *, has_length: bool
) -> Iterator[Finding | str]:
    """Whether the second of two runs went on where the first one had saved a checkpoint."""
    first, second = runs
    where = place(key, "estimator.checkpoint_s3_uri")
    if not first.checkpoints:
        folder = definition.estimator.checkpoint_local_path or "/opt/ml/checkpoints"
        message = "checkpoints are configured, but the script has saved none"
        fix = f"save them below {folder}; a script that may run without a container finds that beside SM_MODEL_DIR"
        yield Finding("smoke-no-checkpoint", "error", where, message, fix)
        return
    if not second.is_complete:
        yield _failure(key, second)._replace(code="smoke-resume", where=where)
        return
    before, after = _emissions(definition, first), _emissions(definition, second)
    if not has_length:
        message = "whether the second run resumed: no hyperparameter says how long it trains"
        yield Finding("smoke-resume", "not-checked", where, message, "look at the log of an interrupted job")
    elif after > before:
        message = (
            f"the second run found {len(first.checkpoints)} checkpoint files, but began anew: it emitted the objective "
            f"{after} times, and the first one, of one epoch less, {before} times"
        )
        yield Finding("smoke-resume", "error", where, message, "load the newest checkpoint before training")
    else:
        yield f"the second run resumed from {len(first.checkpoints)} checkpoint files, and emitted {after} of the rest"


def unread_channels(key: str | None, definition: TrainingDefinition) -> Iterator[Finding]:
    """Channels that no line of the script seems to read."""
    estimator = definition.estimator
    if not estimator.is_script_mode:
        return
    root = Path(estimator.source_dir or estimator.entry_point or "")
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.suffix in (".py", ".sh"))
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files if path.suffix != ".gz")
    if not text or any(word in text for word in _CHANNEL_WORDS):
        return
    for name in definition.inputs or {}:
        if f"SM_CHANNEL_{name.upper()}" not in text and "SM_CHANNEL_{" not in text:
            message = f"the script names neither SM_CHANNEL_{name.upper()} nor the channel's folder"
            fix = f"read the data from os.environ['SM_CHANNEL_{name.upper()}'], or leave the channel out"
            yield Finding("channel-unread", "advice", place(key, f"inputs.{name}"), message, fix)


def _failure(key: str | None, trial: Run) -> Finding:
    """What a trial that did not complete said last."""
    why = "had not ended in time and was stopped" if trial.status == "TimedOut" else f"ended as {trial.status}"
    tail = "\n".join(f"    {line}" for line in trial.lines[-_TAIL:])
    log = f"; the end of its log:\n{tail}" if tail else "; it printed nothing"
    message = f"the trial {why}: {trial.reason}{log}" if trial.reason else f"the trial {why}{log}"
    code = "smoke-timeout" if trial.status == "TimedOut" else "smoke-failed"
    return Finding(code, "error", place(key, "estimator"), message, "correct the script, or the hyperparameters")


def _metrics(key: str | None, definition: TrainingDefinition, trial: Run) -> Iterator[Finding | str]:
    objective = definition.objective_metric_name
    if definition.estimator.predefines_metrics:
        final = trial.training.get("FinalHyperParameterTuningJobObjectiveMetric")
        if final is not None:
            yield f"{objective} = {final['Value']:.6g}, by the algorithm's own definition"
        elif trial.is_complete:
            message = f"the algorithm did not emit {objective!r}"
            fix = "choose a metric that it computes, and give the channel that it needs"
            yield Finding("smoke-objective", "error", place(key, "objective_metric_name"), message, fix)
        return
    for metric in definition.estimator.metric_definitions:
        pattern = re.compile(metric.regex)
        match, line = next(((found, line) for line in trial.lines if (found := pattern.search(line))), (None, ""))
        where = place(key, f"estimator.metric_definitions.{metric.name}")
        is_objective = metric.name == objective
        if match is None:
            if trial.is_complete:
                yield _unmatched(where, metric.name, metric.regex, trial, is_objective=is_objective)
        elif not _is_number(match.group(1)):
            message = f"the expression takes {match.group(1)!r} for a value, in the line {line!r}"
            yield Finding("smoke-metric-value", "error", where, message, "put the group around the number alone")
        else:
            yield f"{metric.name} = {match.group(1)} matched in the line: {line}"


def _unmatched(where: str, name: str, regex: str, trial: Run, *, is_objective: bool) -> Finding:
    tail = "\n".join(f"    {line}" for line in trial.lines[-_TAIL:])
    seen = f"the end of its log:\n{tail}" if tail else "it printed nothing"
    message = f"no line that the script printed matches {regex!r}; {seen}"
    fix = f"print a line that it matches, or correct it; {name} would be empty"
    if is_objective:
        return Finding("smoke-objective", "error", where, message, fix)
    return Finding("smoke-metric", "advice", where, message, fix)


def _emission(key: str | None, definition: TrainingDefinition, trial: Run, epochs: int) -> Iterator[Finding | str]:
    """Epoch-wise emission, which early stopping and Hyperband live from [automatic-model-tuning-early-stop]."""
    if definition.estimator.predefines_metrics:
        return
    count = _emissions(definition, trial)
    if lengths(definition) and epochs > 1 and count == 1:
        message = f"the objective was emitted once in {epochs} epochs, so that nothing can be stopped early"
        fix = "print it after every epoch, unbuffered (flush=True)"
        yield Finding("objective-once", "advice", place(key, "objective_metric_name"), message, fix)
    elif count > 1:
        yield f"{definition.objective_metric_name} was emitted {count} times"


def _emissions(definition: TrainingDefinition, trial: Run) -> int:
    """How many lines hold a value of the objective."""
    regexes = [m.regex for m in definition.estimator.metric_definitions if m.name == definition.objective_metric_name]
    return sum(any(re.search(regex, line) for regex in regexes) for line in trial.lines)


def _model(aws: Aws, key: str | None, trial: Run) -> Iterator[Finding | str]:
    uri = str(trial.training.get("ModelArtifacts", {}).get("S3ModelArtifacts", ""))
    fix = "save the model below the folder that SM_MODEL_DIR names (/opt/ml/model)"
    where = place(key, "estimator")
    names = _members(aws, uri) if uri else []
    if names is None:
        yield f"a model landed at {uri}"
    elif not names:
        yield Finding("smoke-no-model", "error", where, "the script saved no model", fix)
    else:
        yield f"a model landed, with {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"


def _members(aws: Aws, uri: str) -> list[str] | None:
    """The files of a model; None when it is too big to look into."""
    bucket, name = split_uri(uri)
    try:
        size = aws.call("s3", "head_object", Bucket=bucket, Key=name)["ContentLength"]
    except ServiceError as error:
        if not is_missing(error):
            raise
        return [one.rpartition("/")[2] for one in objects(aws, uri.rstrip("/"))]
    if size > _BIG:
        return None
    body = aws.call("s3", "get_object", Bucket=bucket, Key=name)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:*") as archive:
        return [member.name.removeprefix("./") for member in archive if member.isfile()]


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True
