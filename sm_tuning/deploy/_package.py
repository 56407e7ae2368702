"""The arguments of CreateModelPackage within a state machine, with the metadata that registering by hand writes too.

Keys, order and limits are those of ``lineage``: at most 50 entries, with keys of 128 and values of 256 letters,
digits, spaces and ``_.:/=+-@`` [botocore model, CustomerMetadataMap]. There it is Python, here JSONata, since the
values are known only when the job has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sm_tuning.deploy import _asl as asl


class Serving(NamedTuple):
    """The container that serves a model: its image, what it takes, and what it answers."""

    image: str
    content_types: tuple[str, ...]
    response_types: tuple[str, ...]


class Package(NamedTuple):
    """How the best model is registered.

    Attributes:
        group: the model package group, by name or ARN.
        approval: the package's approval status.
        serving: for each training image, the container that serves its models.
        hidden: hyperparameters whose values are not shown.
    """

    group: str
    approval: str
    serving: Mapping[str, Serving]
    hidden: tuple[str, ...] = ()


#: Where the model is: an archive, or the files themselves when the job did not compress them. A prefix ends in "/".
_INFERENCE = """(
  $training := $states.input.TrainingJob;
  $uri := $training.ModelArtifacts.S3ModelArtifacts;
  $serving := %(serving)s;
  $how := %(how)s;
  {
    "Containers": [$merge([{"Image": $how.Image}, $training.OutputDataConfig.CompressionType = "NONE" ? {
      "ModelDataSource": {"S3DataSource": {
        "S3Uri": $replace($uri, /\\/*$/, "") & "/", "S3DataType": "S3Prefix", "CompressionType": "None"
      }}
    } : {"ModelDataUrl": $uri}])],
    "SupportedContentTypes": $how.ContentTypes,
    "SupportedResponseMIMETypes": $how.ResponseTypes
  }
)"""

_METADATA = """(
  $job := $states.input;
  $training := $job.TrainingJob;
  $hidden := %(hidden)s;
  $tuned := $job.TunedHyperParameters;
  $clean := function($value, $size) {(
    $plain := $trim($replace($string($value), /[^\\w .:\\/=+\\-@]/, "_"));
    $length($plain) <= $size ? $plain : $substring($plain, 0, $size - 3) & "..."
  )};
  $entry := function($key, $value) { {"key": $clean($key, 128), "value": $clean($value, 256)} };
  $shown := function($name, $value) { $name in $hidden ? "masked" : $replace($value, /^"|"$/, "") };
  $parameter := function($value, $name) { $entry("hyperparameter:" & $name, $shown($name, $value)) };
  $static := $sift($training.HyperParameters, function($value, $name) {
    $not($exists($lookup($tuned, $name))) and $not($contains($name, /^(sagemaker_|_tuning_objective)/))
  });
  $metrics := $training.FinalMetricDataList[MetricName != "ObjectiveMetric"];
  $entries := [
    $entry("sm-tuning:tuning-job", $job.TuningJobArn),
    $entry("sm-tuning:training-job", $training.TrainingJobArn),
    $entry("sm-tuning:objective", $job.ObjectiveName),
    $entry("sm-tuning:objective-type", $job.ObjectiveType),
    $entry("sm-tuning:objective-value", $job.Objective),
    $entry("sm-tuning:strategy", $job.Strategy),
    $exists($job.DefinitionName) ? $entry("sm-tuning:definition", $job.DefinitionName),
    $entry("sm-tuning:algorithm", $training.AlgorithmSpecification.TrainingImage),
    $each($tuned, $parameter),
    $map($metrics, function($metric) { $entry("metric:" & $metric.MetricName, $metric.Value) }),
    $map($training.InputDataConfig, function($channel) {
      $entry("data:" & $channel.ChannelName, $channel.DataSource.S3DataSource.S3Uri)
    }),
    $each($static, $parameter)
  ][value != ""];
  $kept := $count($entries) <= 50 ? $entries : $filter($entries, function($one, $index) { $index < 49 });
  $merge([$kept.{key: value}, $count($entries) <= 50 ? {} : {"sm-tuning:left-out": $string($count($entries) - 49)}])
)"""


def package_arguments(package: Package) -> dict[str, Any]:
    """The Arguments of a state that registers the best model."""
    members = {
        image: {"Image": one.image, "ContentTypes": one.content_types, "ResponseTypes": one.response_types}
        for image, one in package.serving.items()
    }
    only = next(iter(members.values())) if len(members) == 1 else None
    how = "$serving" if only else "$lookup($serving, $training.AlgorithmSpecification.TrainingImage)"
    inference = _INFERENCE % {"serving": asl.quoted(only or members), "how": how}
    job = "$states.input"
    described = f"{job}.ObjectiveName & ' = ' & $string({job}.Objective) & ', best of ' & {job}.TuningJobName"
    token = f"$hash({job}.TuningJobArn & {asl.quoted(package.group)}, 'MD5')"
    return {
        "ModelPackageGroupName": asl.literal(package.group),
        "ModelApprovalStatus": package.approval,
        "ModelPackageDescription": asl.expression(described),
        "InferenceSpecification": asl.expression(inference),
        "MetadataProperties": {"GeneratedBy": asl.expression(f"{job}.TrainingJob.TrainingJobArn")},
        "CustomerMetadataProperties": asl.expression(_METADATA % {"hidden": asl.quoted(package.hidden)}),
        # The same token gives the same package, so that a retried call does not register twice.
        "ClientToken": asl.expression(token),
    }
