"""A trial's model on held-out data: CreateModel, CreateTransformJob, and the metrics of its predictions.

Model and transform job are named by their content, so that a repeated call reads the results of the first, and an
interrupted one continues. The model's own container predicts, as it will in production.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sm_tuning._errors import InvalidRequestError, JobError, NameTakenError, SpecError
from sm_tuning._statuses import JobStatus
from sm_tuning._wire import tag_list
from sm_tuning.aws import Aws, UploadOptions, is_missing, mapped, split_uri, upload
from sm_tuning.deploy._endpoint import ensure_model, model_members
from sm_tuning.deploy._metrics import Metric, check_names, compute, default_metric
from sm_tuning.deploy._model import describe_with_model, refuse_violations
from sm_tuning.deploy._payloads import CSV, read_predictions
from sm_tuning.deploy._serving_code import refuse_unservable
from sm_tuning.deploy._test_set import TestData, TestSet, read_test_set
from sm_tuning.jobs import OnProgress
from sm_tuning.preflight import prices_for
from sm_tuning.request import Upload, is_uploaded_as

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "test:"
"""With which names of metrics on a test set begin."""

_log = logging.getLogger(__name__)

_MAX_NAME = 63
_MOST_ATTEMPTS = 20
_FILE = "features.csv"


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How a model is evaluated.

    Attributes:
        metrics: names (rmse, mae, r2, logloss, auc, error, accuracy, f1, merror, mlogloss) or functions of labels and
            predictions; by default the metric that the job optimises, or that of its objective function.
        instance_type: of the transform job.
        instance_count: number of instances.
        image_uri: the serving container's image, if it does not follow from the training image.
        environment: variables of the serving container.
        role: ARN of the role that the model runs as; the training job's by default.
        tags: of model and transform job.
    """

    metrics: Sequence[Metric] = ()
    instance_type: str = "ml.m5.large"
    instance_count: int = 1
    image_uri: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    role: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a model on a test set.

    Attributes:
        metrics: values by name, such as ``test:rmse``.
        rows: number of rows of the test set.
        training_job_name: the training job that saved the model.
        transform_job_name: the transform job that predicted.
        output_uri: S3 URI of its predictions.
    """

    metrics: Mapping[str, float]
    rows: int
    training_job_name: str
    transform_job_name: str
    output_uri: str
    _labels: Sequence[float] = field(repr=False, compare=False, default=())
    _predictions: Sequence[Any] = field(repr=False, compare=False, default=())

    def predictions(self) -> pd.DataFrame:
        """Return a row for each row of the test set: label, prediction."""
        import pandas as pd  # noqa: PLC0415  (heavy)

        return pd.DataFrame({"label": list(self._labels), "prediction": list(self._predictions)})


def evaluate(
    aws: Aws,
    training_job_name: str,
    test: TestData,
    options: EvaluationOptions = EvaluationOptions(),
    *,
    metric_name: str = "",
    timeout: float | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Evaluate a training job's model on a test set; a second call with the same data reads the same predictions.

    Args:
        aws: the connection.
        training_job_name: the training job that saved the model.
        test: a CSV file, local or ``s3://``, or a DataFrame; the label is in the first column, without a header.
        options: how to evaluate.
        metric_name: the metric that the job optimises.
        timeout: seconds after which to stop waiting; the transform job goes on.
        on_progress: called with what a transform job will cost before it is created; by default that is logged.

    Raises:
        SpecError: the test set or an option is wrong, or the model's script cannot load it; nothing was created.
        JobError: the training job has no model, or the transform job failed.
        WaitTimeoutError: the transform job had not ended after ``timeout`` seconds.
        ServiceError: the service refused.
    """
    training = describe_with_model(aws, training_job_name, role=options.role)
    check_names(options.metrics)
    refuse_training_data(training, test)
    metrics = list(options.metrics) or [default_metric(metric_name, training.get("HyperParameters", {}))]
    data = read_test_set(aws, test)
    requests = evaluation_requests(training, data, options, region=aws.region)
    key = training["OutputDataConfig"].get("KmsKeyId") or None
    if _describe(aws, str(requests.transform["TransformJobName"])) is None:
        refuse_unservable(aws, requests.model["PrimaryContainer"])
    source = requests.transform["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    upload(aws, [Upload(data.features, source)], options=UploadOptions(kms_key=key))
    ensure_model(aws, requests.model)
    described = _transform(aws, requests.transform, timeout, lambda: (on_progress or _log.info)(_price(aws, options)))
    uri = f"{described['TransformOutput']['S3OutputPath'].rstrip('/')}/{_FILE}.out"
    predictions = _read(aws, uri, data, described["TransformJobName"])
    return Evaluation(
        metrics=compute(metrics, data.labels, predictions),
        rows=len(data.labels),
        training_job_name=str(training["TrainingJobName"]),
        transform_job_name=str(described["TransformJobName"]),
        output_uri=uri,
        _labels=data.labels,
        _predictions=predictions,
    )


def _price(aws: Aws, options: EvaluationOptions) -> str:
    """Return what the transform job costs, in words; its duration is not known before."""
    machines = f"{options.instance_count} {options.instance_type}"
    if aws.is_local:
        return f"evaluating on this machine, in place of {machines}"
    price = prices_for(aws, None).get(options.instance_type)
    dollars = (
        "at a price that is not known" if price is None else f"for {price * options.instance_count:.3f} USD an hour"
    )
    return f"evaluating by a transform job on {machines}, {dollars} until it ends"


def held_out_metrics(requirements: Iterable[str]) -> list[str]:
    """Return the metrics of a test set that requirements name, without the prefix ``test:``."""
    names = [name for name in requirements if name.startswith(PREFIX)]
    return list(dict.fromkeys(name.removeprefix(PREFIX) for name in names))


@dataclass(frozen=True)
class EvaluationRequests:
    """The parameters of the two calls, checked against the service's model."""

    model: dict[str, Any]
    transform: dict[str, Any]


def evaluation_requests(
    training: Mapping[str, Any], data: TestSet, options: EvaluationOptions, *, region: str
) -> EvaluationRequests:
    """Return the parameters of CreateModel and CreateTransformJob.

    The names depend on the model, its container and the features, and not on the machine that predicts.

    Raises:
        SpecError: an option is wrong, or the serving image is unknown.
        JobError: the training job has no model.
    """
    model = model_members(
        training,
        region=region,
        instance_type=options.instance_type,
        image_uri=options.image_uri,
        environment=options.environment,
        role=options.role,
    )
    content = json.dumps([model, data.digest], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    ending = f"-eval-{digest}"
    # A repetition after a failure adds three characters.
    name = f"{str(training['TrainingJobName'])[: _MAX_NAME - len(ending) - 3].rstrip('-')}{ending}"
    root = str(training["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
    place = f"{root}/{training['TrainingJobName']}/sm-tuning/evaluation"
    key = training["OutputDataConfig"].get("KmsKeyId") or None
    tags = tag_list(options.tags) or None
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{place}/{data.digest}/{_FILE}"}
    output = {"S3OutputPath": f"{place}/{name}", "Accept": CSV, "AssembleWith": "Line", "KmsKeyId": key}
    transform = {
        "TransformJobName": name,
        "ModelName": name,
        "BatchStrategy": "MultiRecord",
        "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": CSV, "SplitType": "Line"},
        "TransformOutput": {member: value for member, value in output.items() if value},
        "TransformResources": {"InstanceType": options.instance_type, "InstanceCount": options.instance_count},
        "Tags": tags,
    }
    requests = EvaluationRequests(
        model={key: value for key, value in {"ModelName": name, **model, "Tags": tags}.items() if value},
        transform={key: value for key, value in transform.items() if value},
    )
    refuse_violations("CreateModel", requests.model)
    refuse_violations("CreateTransformJob", requests.transform)
    return requests


def refuse_training_data(training: Mapping[str, Any], test: TestData) -> None:
    """Refuse a test set that the model was trained on.

    Raises:
        SpecError: the test set is in a channel of the training job.
    """
    for channel in training.get("InputDataConfig", ()):
        uri = channel["DataSource"].get("S3DataSource", {}).get("S3Uri")
        if not uri or not isinstance(test, str | Path):
            continue
        name = str(test)
        if name.startswith("s3://"):
            is_known = name == uri or name.startswith(uri.rstrip("/") + "/")
        else:
            is_known = is_uploaded_as(Path(name).expanduser(), uri)
        if is_known:
            raise SpecError(
                f"test: {test} is in the channel {channel['ChannelName']!r} of the training: give data that the model "
                "has not seen"
            )


def _transform(
    aws: Aws, request: Mapping[str, Any], timeout: float | None, announce: Callable[[], object]
) -> Mapping[str, Any]:
    """Return the description of a completed transform job, which is announced and created if it does not exist.

    Raises:
        JobError: the job failed.
    """
    name = str(request["TransformJobName"])
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        current = name if attempt == 1 else f"{name}-{attempt}"
        created = _describe(aws, current) is None
        if created:
            announce()
            try:
                aws.call("sagemaker", "create_transform_job", **{**request, "TransformJobName": current})
            except NameTakenError:
                created = False  # another run of the pipeline was faster
        described = _wait(aws, current, timeout)
        status = JobStatus.of(described["TransformJobStatus"])
        if status.is_success:
            return described
        if created:
            reason = str(described.get("FailureReason", "")).rstrip(".")
            message = f"transform job {current} is {status}" + (f": {reason}" if reason else "")
            raise JobError(
                f"{message} (its log group is /aws/sagemaker/TransformJobs)",
                job_name=current,
                status=status.value,
                reason=reason,
            )
    raise JobError(
        f"transform job {name} failed {_MOST_ATTEMPTS} times: read its logs",
        job_name=name,
        status=JobStatus.FAILED.value,
    )


def _describe(aws: Aws, name: str) -> Mapping[str, Any] | None:
    try:
        return aws.call("sagemaker", "describe_transform_job", TransformJobName=name)
    except InvalidRequestError as error:
        if is_missing(error) or "could not find" in str(error).lower():
            return None
        raise


def _wait(aws: Aws, name: str, timeout: float | None) -> Mapping[str, Any]:
    def ask() -> Mapping[str, Any]:
        return aws.call("sagemaker", "describe_transform_job", TransformJobName=name)

    def ended(description: Mapping[str, Any]) -> bool:
        return JobStatus.of(description["TransformJobStatus"]).is_terminal

    return aws.poll(name, ask, ended, timeout=timeout)


def _read(aws: Aws, uri: str, data: TestSet, job: str) -> list[Any]:
    """Return the predictions.

    Raises:
        JobError: there is not one for each row.
    """
    bucket, key = split_uri(uri)
    body = aws.call("s3", "get_object", Bucket=bucket, Key=key)["Body"]
    with mapped("GetObject", uri):
        content = body.read()
    predictions = read_predictions(content, len(data.labels))
    if len(predictions) != len(data.labels):
        raise JobError(
            f"transform job {job} returned {len(predictions)} predictions for {len(data.labels)} rows: the serving "
            "code must return a line for each line",
            job_name=job,
            status=JobStatus.COMPLETED.value,
        )
    return predictions
