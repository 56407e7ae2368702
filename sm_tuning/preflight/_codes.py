"""Stable codes for the rules that a spec refuses by itself, when it is read.

A spec that breaks such a rule cannot be built, so that its sentences arrive as text. Each has its row here; one that
has none is of the code ``spec``. Sources of the rules stand where they are checked.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Rule(NamedTuple):
    """A rule's code, the words by which its sentence is known, and what to do about it."""

    code: str
    words: str
    fix: str


def _rule(code: str, words: str, fix: str) -> Rule:
    return Rule(code, words, fix)


#: The first row whose words are found in a problem counts.
RULES: tuple[Rule, ...] = (
    _rule("unknown-key", r"unknown key", "correct the name, or take the key out: a tuning job has no such setting"),
    _rule("file-unreadable", r"cannot read the spec file|is UTF-8 text", "give the path of a readable spec file"),
    _rule("file-syntax", r"this is not (YAML|JSON)|a spec file holds a mapping", "write a mapping of fields"),
    _rule("variable-unset", r"the variable \$\{", "set the variable, or write ${NAME:-fallback}"),
    _rule("definition-choice", r"exactly one of estimator and estimators", "give one of the two"),
    _rule(
        "image-choice",
        r"exactly one of (version and image_uri|framework_version|image_uri and algorithm_name)|go together, such as",
        "name the image in one way",
    ),
    _rule("entry-point", r"entry_point (is required|must be)|need an entry_point", "name a .py or .sh script"),
    _rule("several-ranges", r"each has hyperparameter_ranges of its own", "move the ranges into each estimator"),
    _rule("several-warm-start", r"warm_start works with a single estimator", "leave warm_start out"),
    _rule("several-early-stopping", r"'Auto' works with a single estimator", "set early_stopping_type to Off"),
    _rule("too-many-variables", r"at most \d+ environment variables", "pass a file in place of variables"),
    _rule("tags-differ", r"one value for a tag", "give the tag the same value everywhere"),
    _rule("objective-missing", r"objective_metric_name is required", "name the metric to optimise"),
    _rule("objective-undefined", r"has no metric definition", "add it to metric_definitions"),
    _rule("inputs-missing", r"inputs is required", "name the data in inputs"),
    _rule("ranges-missing", r"needs at least one range", "add a range to hyperparameter_ranges"),
    _rule("auto-parameters", r"auto_parameters needs autotune", "set autotune, or give ranges"),
    _rule("too-many-ranges", r"at most \d+ hyperparameter_ranges", "make the least important ones static"),
    _rule("static-and-tuned", r"either static .* or tuned|a range or an autotune hint", "give it once"),
    _rule(
        "too-many-hyperparameters",
        r"at most \d+ hyperparameters|equal to 100\b.*[sS]taticHyperParameters\)",
        "pass a file in place of hyperparameters",
    ),
    _rule("network-missing", r"needs subnets and security_group_ids|subnets and security_group_ids", "give both"),
    _rule("hyperband-only", r"strategy_config is for strategy 'Hyperband'", "leave strategy_config out"),
    _rule("hyperband-early-stopping", r"'Hyperband' stops training jobs by itself", "set early_stopping_type to Off"),
    _rule(
        "hyperband-resource", r"'Hyperband' needs strategy_config\.max_resource", "give strategy_config.max_resource"
    ),
    _rule(
        "hyperband-order",
        r"min_resource <= max_resource|strategy_config needs min_resource",
        "give min_resource <= max_resource",
    ),
    _rule("warm-start-strategy", r"warm_start works with strategy", "use strategy Bayesian or Random"),
    _rule("warm-start-twice", r"parents must be different", "name each parent once"),
    _rule("grid-categorical", r"'Grid' takes categorical ranges only", "list the values"),
    _rule("grid-budget", r"'Grid' runs every combination", "leave max_jobs out"),
    _rule("too-few-combinations", r"combinations, fewer than max_jobs", "widen the ranges or lower max_jobs"),
    _rule("range-bounds", r"min_value < max_value must hold", "give a range with more than one value"),
    _rule("log-scale", r"a Logarithmic scale needs", "raise min_value above 0, or use Linear"),
    _rule("reverse-log-scale", r"a ReverseLogarithmic scale", "use Linear or Logarithmic"),
    _rule(
        "categorical-values",
        r"[Cc]ategorical (range has|values must)|categoricalParameterRanges",
        "list 2 to 30 different values",
    ),
    _rule("range-kind", r"a range needs type", "say type: continuous, integer or categorical"),
    _rule("estimator-kind", r"an estimator needs type", "say type: xgboost, pytorch or container"),
    _rule("algorithm-metrics", r"metrics of its own|brings its own metrics", "leave metric_definitions out"),
    _rule("too-many-metrics", r"at most \d+ metric_definitions", "keep the metrics that you look at"),
    _rule("metrics-twice", r"metric_definitions must have different names", "name each metric once"),
    _rule("metric-regex", r"the regular expression", "write an expression with one group around the value"),
    _rule("instances-choice", r"exactly one of instance_type, instance_configs", "name the machines in one way"),
    _rule("instances-clash", r"put these into resource_config|belong into each of instance_configs", "move the fields"),
    _rule("instances-order", r"allocation_strategy is for instance_configs", "leave allocation_strategy out"),
    _rule("spot-wait", r"max_wait", "give max_wait >= max_run with use_spot_instances"),
    _rule("checkpoint-place", r"checkpoint_local_path needs", "give checkpoint_s3_uri"),
    _rule("reserved-hyperparameter", r"these names belong to SageMaker", "leave them out: they are set for you"),
    _rule("fastfile-prefix", r"FastFile needs s3_data_type", "use s3_data_type S3Prefix, or input_mode File"),
    _rule("manifest-attributes", r"attribute_names are for", "use s3_data_type AugmentedManifestFile"),
    _rule("distribution", r"distribution|processes_per_host", "use a launcher that a tuning job can start"),
    _rule("completion-criteria", r"completion_criteria needs", "give a criterion, or leave it out"),
    _rule("hyperparameter-value", r"must be a finite number, text, or JSON", "give a value that JSON can hold"),
    _rule("override", r"an override has the form|the override ", "write --set PATH=VALUE"),
)

#: Fields whose own limits have a code; the last part of the place counts. Others are of the code ``spec``.
FIELDS = {
    "max_jobs": "jobs-limit",
    "max_parallel_jobs": "parallel-limit",
    "max_runtime_in_seconds": "runtime-limit",
    "max_run": "run-limit",
    "max_pending": "pending-limit",
    "max_retry_attempts": "retry-limit",
    "max_resource": "hyperband-cap",
    "min_resource": "hyperband-order",
    "parents": "warm-start-parents",
    "environment": "environment",
    "hyperparameters": "hyperparameter-value",
    "inputs": "channels",
    "entry_point": "entry-point",
    "tags": "tags",
    "image_uri": "image-choice",
    "estimators": "several-limit",
    "instance_type": "instance-type",
    "output_path": "output-path",
    "checkpoint_s3_uri": "checkpoint-place",
    "subnets": "network-missing",
    "security_group_ids": "network-missing",
    "role": "role",
    "name": "name",
    "max_number_of_training_jobs_not_improving": "completion-criteria",
    "strategy": "strategy",
    "base_tuning_job_name": "name",
    "instance_configs": "instances-choice",
    "auto_parameters": "auto-parameters",
    "metric_definitions": "metric-regex",
    "hyperparameter_ranges": "range-bounds",
}


def classify(where: str, message: str, default: str) -> tuple[str, str]:
    """The code and the fix of a problem.

    Args:
        where: the field that it has in front; empty when it has none.
        message: the sentence.
        default: the code of a problem that has none of its own.
    """
    for rule in RULES:
        if re.search(rule.words, message):
            return rule.code, rule.fix
    for part in reversed(where.split(".")):
        if part in FIELDS:
            return FIELDS[part], _fix_of(message) or f"correct {where}"
    return default, _fix_of(message) or "correct the spec"


def _fix_of(message: str) -> str:
    """What a sentence says to do, behind its last semicolon."""
    return message.rpartition("; ")[2] if "; " in message else ""
