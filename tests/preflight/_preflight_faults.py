"""Specs that break a rule or a limit of a search, with the findings that ``check`` gives for each."""

from __future__ import annotations

from typing import Any, NamedTuple

from _preflight_specs import COLOURS, CONTINUOUS, INTEGER, builtin, container, script, several

from sm_tuning.executor.algorithms import rules_of

XGBOOST_METRICS = sorted({item["Name"].partition(":")[2] for item in rules_of("1.7-1").metric_definitions})

LR = "hyperparameter_ranges/lr"
CONFIGS = {"estimator/instance_type": None, "estimator/instance_configs": [{"instance_type": "ml.m5.large"}]}

#: What to do about a broken rule.
ADVICE = {
    "variable-unset": "set the variable, or write ${NAME:-fallback}",
    "unknown-key": "correct the name, or take the key out: a tuning job has no such setting",
    "definition-choice": "give one of the two",
    "image-choice": "name the image in one way",
    "entry-point": "name a .py or .sh script",
    "estimator-kind": "say type: xgboost, pytorch or container",
    "distribution": "use a launcher that a tuning job can start",
    "several-ranges": "move the ranges into each estimator",
    "several-warm-start": "leave warm_start out",
    "several-early-stopping": "set early_stopping_type to Off",
    "objective-types": "give all the same objective_type",
    "tags-differ": "give the tag the same value everywhere",
    "ranges-missing": "add a range to hyperparameter_ranges",
    "static-and-tuned": "give it once",
    "range-bounds": "give a range with more than one value",
    "hyperband-resource": "give strategy_config.max_resource",
    "objective-channel": "add a channel validation",
    "objective-missing": "name the metric to optimise",
    "objective-undefined": "add it to metric_definitions",
    "objective-unknown": "use validation: and one of " + ", ".join(XGBOOST_METRICS),
    "xgboost-num-round": "add num_round to estimator.hyperparameters",
    "xgboost-hyperparameter": "leave it out",
    "algorithm-metrics": "leave metric_definitions out",
    "too-many-metrics": "keep the metrics that you look at",
    "metrics-twice": "name each metric once",
    "metric-regex": "write an expression with one group around the value",
    "too-few-combinations": "widen the ranges or lower max_jobs",
    "too-many-ranges": "make the least important ones static",
    "range-kind": "say type: continuous, integer or categorical",
    "log-scale": "raise min_value above 0, or use Linear",
    "reverse-log-scale": "use Linear or Logarithmic",
    "categorical-values": "list 2 to 30 different values",
    "auto-parameters": "set autotune, or give ranges",
    "reserved-hyperparameter": "leave them out: they are set for you",
    "too-many-hyperparameters": "pass a file in place of hyperparameters",
    "hyperparameter-text": "rename it, or pass a file",
    "environment": "leave the character out, or pass a file",
    "bucket-name": "write s3://bucket/prefix",
    "hyperparameter-value": "give a value that JSON can hold",
    "parallel-quota": "give 100 or less",
    "jobs-quota": "give 750 or less",
    "hyperband-only": "leave strategy_config out",
    "hyperband-early-stopping": "set early_stopping_type to Off",
    "hyperband-cap": "train for 20000 epochs or fewer",
    "hyperband-order": "give 4 or less",
    "grid-categorical": "list the values",
    "grid-budget": "leave max_jobs out",
    "warm-start-strategy": "use strategy Bayesian or Random",
    "warm-start-twice": "name each parent once",
    "completion-criteria": "give a criterion, or leave it out",
    "instances-choice": "name the machines in one way",
    "instances-clash": "move the fields",
    "instances-order": "leave allocation_strategy out",
    "spot-wait": "give max_wait >= max_run with use_spot_instances",
    "wait-quota": "give 2592000 or less",
    "checkpoint-place": "give checkpoint_s3_uri",
    "network-missing": "give both",
    "too-many-variables": "pass a file in place of variables",
    "tags-reserved": "choose other keys",
    "request": "give the data channel another one",
    "inputs-missing": "name the data in inputs",
    "fastfile-prefix": "use s3_data_type S3Prefix, or input_mode File",
    "manifest-attributes": "use s3_data_type AugmentedManifestFile",
    "files": "correct the path, or make the file",
    "image": "use a version that the message lists, another instance type or region, or give image_uri",
}


class Expected(NamedTuple):
    """A finding without its sentence."""

    code: str
    where: str
    fix: str


def rule(code: str, where: str = "", fix: str = "") -> Expected:
    """A rule across fields, which has advice of its own."""
    return Expected(code, where, fix or ADVICE[code])


def limit(code: str, where: str) -> Expected:
    """The limit of a single field."""
    return Expected(code, where, f"correct {where}")


#: What is changed in which spec, and what is found.
FAULTS: list[tuple[Any, ...]] = [
    (script, {"estimator/environment": {"A": "${NOT_SET_ANYWHERE}"}}, rule("variable-unset")),
    (script, {"debugger_rules": []}, rule("unknown-key")),
    (script, {"max_job": 3}, rule("unknown-key")),
    (script, {"estimator/max_runs": 3}, rule("unknown-key", "estimator")),
    (script, {"inputs/train": {"uri": "train.csv", "compresion": "Gzip"}}, rule("unknown-key", "inputs.train")),
    (several, {"estimators/one/max_jobs": 3}, rule("unknown-key", "estimators.one")),
    (script, {LR + "/scale": "Linear"}, rule("unknown-key", "hyperparameter_ranges.lr")),
    (
        builtin,
        {"estimators": {"one": {"estimator": builtin()["estimator"], "hyperparameter_ranges": {"eta": CONTINUOUS}}}},
        rule("definition-choice"),
    ),
    (builtin, {"estimator": None}, rule("definition-choice")),
    (builtin, {"estimator/image_uri": "mine:1"}, rule("image-choice", "estimator")),
    (builtin, {"estimator/version": None}, rule("image-choice", "estimator")),
    (script, {"estimator/image_uri": "mine:1"}, rule("image-choice", "estimator")),
    (script, {"estimator/py_version": None}, rule("image-choice", "estimator")),
    (container, {"estimator/algorithm_name": "mine"}, rule("image-choice", "estimator")),
    (container, {"estimator/image_uri": None}, rule("image-choice", "estimator")),
    (
        script,
        {"estimator/image_uri": "x" * 256, "estimator/framework_version": None, "estimator/py_version": None},
        limit("image-choice", "estimator.image_uri"),
    ),
    (script, {"estimator/entry_point": None}, limit("entry-point", "estimator.entry_point")),
    (script, {"estimator/entry_point": "train.txt"}, rule("entry-point", "estimator")),
    (script, {"estimator/entry_point": 5}, limit("entry-point", "estimator.entry_point")),
    (builtin, {"estimator/source_dir": "folder"}, rule("entry-point", "estimator")),
    (script, {"estimator/type": None}, rule("estimator-kind", "estimator")),
    (script, {"estimator/type": "tensorflow"}, rule("estimator-kind", "estimator")),
    (script, {"estimator": "pytorch"}, rule("estimator-kind", "estimator")),
    (script, {"estimator/distribution": {"smdistributed": {"enabled": True}}}, rule("distribution", "estimator")),
    (script, {"estimator/distribution": {}}, rule("distribution", "estimator")),
    (script, {"estimator/distribution": {"mpi": {}}}, rule("distribution", "estimator")),
    (script, {"estimator/distribution": {"mpi": {"enabled": True, "hosts": 3}}}, rule("distribution", "estimator")),
    (
        script,
        {"estimator/distribution": {"mpi": {"enabled": True, "processes_per_host": 0}}},
        rule("distribution", "estimator"),
    ),
    (
        script,
        {"estimator/distribution": {"torch_distributed": {"enabled": True}}, "estimator/entry_point": "train.sh"},
        rule("distribution", "estimator"),
    ),
    (script, {"estimator/distribution": "mpi"}, limit("spec", "estimator.distribution")),
    (
        script,
        {
            "estimator/distribution": {"torch_distributed": {"enabled": True}},
            **CONFIGS,
            "estimator/instance_configs": [{"instance_type": "ml.m5.large"}, {"instance_type": "ml.m5.xlarge"}],
        },
        rule("distribution", "estimator"),
    ),
    (several, {"hyperparameter_ranges": {"eta": CONTINUOUS}}, rule("several-ranges")),
    (several, {"auto_parameters": {"eta": "1"}, "autotune": True}, rule("several-ranges")),
    (several, {"warm_start": {"parents": ["p"]}}, rule("several-warm-start")),
    (several, {"early_stopping_type": "Auto"}, rule("several-early-stopping")),
    (
        several,
        {"estimators": {f"e{n}": several()["estimators"]["one"] for n in range(11)}},
        limit("several-limit", "estimators"),
    ),
    (
        several,
        {"estimators": {"bad_name": several()["estimators"]["one"], "two": several()["estimators"]["two"]}},
        limit("several-limit", "estimators.bad_name"),
    ),
    (several, {"estimators/one/objective_type": "Maximize"}, rule("objective-types", "estimators")),
    (
        several,
        {"estimators/one/estimator/tags": {"team": "a"}, "estimators/two/estimator/tags": {"team": "b"}},
        rule("tags-differ"),
    ),
    (several, {"estimators/one/hyperparameter_ranges": {}}, rule("ranges-missing", "estimators.one")),
    (
        several,
        {"estimators/one/hyperparameter_ranges/num_round": INTEGER},
        rule("static-and-tuned", "estimators.one.hyperparameter_ranges.num_round"),
    ),
    (
        several,
        {"estimators/one/hyperparameter_ranges/eta/max_value": 0},
        rule("range-bounds", "estimators.one.hyperparameter_ranges.eta"),
    ),
    (several, {"estimators/one/estimator/max_run": 0}, limit("run-limit", "estimators.one.estimator.max_run")),
    (several, {"estimators/one/estimator/role": 5}, limit("role", "estimators.one.estimator.role")),
    (
        several,
        {"estimators/one/estimator/instance_type": "ml.m5.huge"},
        limit("instance-type", "estimators.one.estimator.instance_type"),
    ),
    (
        several,
        {"strategy": "Hyperband"},
        rule("hyperband-resource", "estimators.one"),
        rule("hyperband-resource", "estimators.two"),
    ),
    (
        several,
        {"inputs/validation": None},
        rule("objective-channel", "estimators.one.inputs"),
        rule("objective-channel", "estimators.two.inputs"),
    ),
    (
        several,
        {"objective_metric_name": None},
        rule("objective-missing", "estimators.one"),
        rule("objective-missing", "estimators.two"),
    ),
    (several, {"estimators/one/estimator/version": None}, rule("image-choice", "estimators.one.estimator")),
    (several, {"estimators/one/inputs": {}}, limit("channels", "estimators.one.inputs")),
    (
        several,
        {"estimators/one/estimator/hyperparameters/text": "x" * 2501},
        limit("hyperparameter-value", "estimators.one.estimator.hyperparameters"),
        rule("xgboost-hyperparameter", "estimators.one.estimator.hyperparameters.text"),
    ),
    (
        several,
        {"estimators/one/estimator/environment": {"1A": "x"}},
        limit("environment", "estimators.one.estimator.environment"),
    ),
    (builtin, {"objective_metric_name": None}, rule("objective-missing")),
    (script, {"objective_metric_name": None}, rule("objective-missing")),
    (script, {"objective_metric_name": "loss"}, rule("objective-undefined")),
    (builtin, {"objective_metric_name": "validation:rsme"}, rule("objective-unknown", "objective_metric_name")),
    (script, {"objective_metric_name": ""}, limit("spec", "objective_metric_name")),
    (script, {"objective_type": "Up"}, limit("spec", "objective_type")),
    (builtin, {"inputs/validation": None}, rule("objective-channel", "inputs")),
    (
        builtin,
        {"estimator/hyperparameters": {"objective": "reg:squarederror"}},
        rule("xgboost-num-round", "estimator.hyperparameters"),
    ),
    (builtin, {"estimator/metric_definitions": {"m": "(.)"}}, rule("algorithm-metrics", "estimator")),
    (
        container,
        {"estimator/image_uri": None, "estimator/algorithm_name": "mine"},
        rule("algorithm-metrics", "estimator"),
    ),
    (
        script,
        {"estimator/metric_definitions": {f"m{n}": "(.)" for n in range(41)}},
        rule("too-many-metrics", "estimator"),
    ),
    (
        script,
        {"estimator/metric_definitions": [{"name": "score", "regex": "(.)"}, {"name": "score", "regex": "x(.)"}]},
        rule("metrics-twice", "estimator"),
    ),
    (
        script,
        {"estimator/metric_definitions": {"score": "score"}},
        rule("metric-regex", "estimator.metric_definitions.0.Regex"),
    ),
    (
        script,
        {"estimator/metric_definitions": {"score": "(score"}},
        rule("metric-regex", "estimator.metric_definitions.0.Regex"),
    ),
    (
        script,
        {"estimator/metric_definitions/score": f"({'x' * 500})"},
        limit("metric-regex", "estimator.metric_definitions.0.Regex"),
    ),
    (
        script,
        {"estimator/metric_definitions": [{"Name": "score"}]},
        limit("metric-regex", "estimator.metric_definitions.0.Regex"),
    ),
    (script, {"estimator/metric_definitions": 5}, limit("metric-regex", "estimator.metric_definitions")),
    (script, {"hyperparameter_ranges": {}}, rule("ranges-missing"), rule("too-few-combinations")),
    (script, {"hyperparameter_ranges": {f"h{n}": CONTINUOUS for n in range(31)}}, rule("too-many-ranges")),
    (script, {"hyperparameter_ranges": []}, limit("range-bounds", "hyperparameter_ranges")),
    (script, {LR + "/type": None}, rule("range-kind", "hyperparameter_ranges.lr")),
    (script, {LR + "/type": "gaussian"}, rule("range-kind", "hyperparameter_ranges.lr")),
    (script, {LR + "/min_value": "low"}, limit("range-bounds", "hyperparameter_ranges.lr.min_value")),
    (script, {LR + "/min_value": None}, limit("range-bounds", "hyperparameter_ranges.lr.min_value")),
    (script, {LR + "/scaling_type": "Log"}, limit("range-bounds", "hyperparameter_ranges.lr.scaling_type")),
    (script, {LR + "/max_value": 0.1}, rule("range-bounds", "hyperparameter_ranges.lr")),
    (
        script,
        {LR: {"type": "integer", "min_value": 5, "max_value": 1}},
        rule("range-bounds", "hyperparameter_ranges.lr"),
    ),
    (
        script,
        {LR: {"type": "integer", "min_value": 0.5, "max_value": 1}},
        limit("range-bounds", "hyperparameter_ranges.lr.min_value"),
    ),
    (
        script,
        {LR: {**CONTINUOUS, "min_value": 0, "scaling_type": "Logarithmic"}},
        rule("log-scale", "hyperparameter_ranges.lr"),
    ),
    (
        script,
        {LR: {**INTEGER, "min_value": 0, "scaling_type": "Logarithmic"}},
        rule("log-scale", "hyperparameter_ranges.lr"),
    ),
    (
        script,
        {LR: {**INTEGER, "scaling_type": "ReverseLogarithmic"}},
        rule("reverse-log-scale", "hyperparameter_ranges.lr"),
    ),
    (
        script,
        {LR: {**CONTINUOUS, "max_value": 1.0, "scaling_type": "ReverseLogarithmic"}},
        rule("reverse-log-scale", "hyperparameter_ranges.lr"),
    ),
    (
        script,
        {"hyperparameter_ranges": {"c": {"type": "categorical", "values": ["red", "red"]}}},
        rule("categorical-values", "hyperparameter_ranges.c"),
    ),
    (
        script,
        {"hyperparameter_ranges": {"c": {"type": "categorical", "values": ["red"]}}},
        rule("categorical-values", "hyperparameter_ranges.c"),
    ),
    (
        script,
        {"hyperparameter_ranges": {"c": {"values": [float("nan"), 1.0]}}},
        rule("categorical-values", "hyperparameter_ranges.c.values"),
    ),
    (
        script,
        {"hyperparameter_ranges": {"c": {"values": ["a", "x" * 257]}}},
        rule("categorical-values", "hyperparameter_ranges"),
    ),
    (
        script,
        {"hyperparameter_ranges": {"x" * 257: CONTINUOUS}},
        limit("range-bounds", f"hyperparameter_ranges.{'x' * 257}"),
    ),
    (script, {"auto_parameters": {"depth": "4"}}, rule("auto-parameters")),
    (script, {"auto_parameters": {"lr": "4"}, "autotune": True}, rule("static-and-tuned", "auto_parameters.lr")),
    (
        script,
        {"autotune": True, "auto_parameters": {f"a{n}": "1" for n in range(101)}},
        limit("auto-parameters", "auto_parameters"),
    ),
    (script, {"autotune": True, "auto_parameters": 5}, limit("auto-parameters", "auto_parameters")),
    (script, {"estimator/hyperparameters": {"lr": 1}}, rule("static-and-tuned", "hyperparameter_ranges.lr")),
    (script, {"estimator/hyperparameters": {"sagemaker_program": "x"}}, rule("reserved-hyperparameter", "estimator")),
    (
        script,
        {"estimator/hyperparameters": {"_tuning_objective_metric": "x"}},
        rule("reserved-hyperparameter", "estimator"),
    ),
    (
        script,
        {"estimator/hyperparameters": {f"s{n}": 1 for n in range(96)}},
        rule("too-many-hyperparameters", "estimator.hyperparameters"),
    ),
    (script, {"estimator/hyperparameters": {f"s{n}": 1 for n in range(99)}}, rule("too-many-hyperparameters")),
    (
        script,
        {"estimator/hyperparameters": {f"s{n}": 1 for n in range(98)}, "hyperparameter_ranges/b": CONTINUOUS},
        rule("too-many-hyperparameters"),
    ),
    (container, {"estimator/hyperparameters": {f"s{n}": 1 for n in range(101)}}, rule("too-many-hyperparameters")),
    (
        script,
        {"estimator/hyperparameters": {"text": "x" * 2501}},
        limit("hyperparameter-value", "estimator.hyperparameters"),
    ),
    (
        script,
        {"estimator/hyperparameters": {"x": float("inf")}},
        rule("hyperparameter-value", "estimator.hyperparameters"),
    ),
    (script, {"estimator/hyperparameters": 5}, limit("hyperparameter-value", "estimator.hyperparameters")),
    (script, {"max_jobs": 0}, limit("jobs-limit", "max_jobs")),
    (script, {"max_jobs": "many"}, limit("jobs-limit", "max_jobs")),
    (script, {"max_parallel_jobs": 0}, limit("parallel-limit", "max_parallel_jobs")),
    (script, {"max_runtime_in_seconds": 60}, limit("runtime-limit", "max_runtime_in_seconds")),
    (script, {"max_runtime_in_seconds": 15_768_001}, limit("runtime-limit", "max_runtime_in_seconds")),
    (script, {"max_jobs": 200, "max_parallel_jobs": 101}, rule("parallel-quota", "max_parallel_jobs")),
    (script, {"strategy": "Bayesian", "max_jobs": 751}, rule("jobs-quota", "max_jobs")),
    (script, {"max_jobs": 10_001}, rule("jobs-quota", "max_jobs", "give 10000 or less")),
    (script, {"random_seed": -1}, limit("spec", "random_seed")),
    (script, {"random_seed": 2**40}, limit("request", "random_seed")),
    (script, {"autotune": "perhaps"}, limit("spec", "autotune")),
    (script, {"early_stopping_type": "On"}, limit("spec", "early_stopping_type")),
    (script, {"strategy": "Evolution"}, limit("strategy", "strategy")),
    (script, {"strategy_config": {"max_resource": 9}}, rule("hyperband-only")),
    (script, {"strategy": "Hyperband", "early_stopping_type": "Auto"}, rule("hyperband-early-stopping")),
    (script, {"strategy": "Hyperband", "estimator/hyperparameters": {}}, rule("hyperband-resource")),
    (
        script,
        {"strategy": "Hyperband", "estimator/hyperparameters": {"epochs": "many"}},
        rule("hyperband-resource", "estimator.hyperparameters.epochs"),
    ),
    (
        script,
        {"strategy": "Hyperband", "estimator/hyperparameters": {"epochs": 20_001}},
        rule("hyperband-cap", "estimator.hyperparameters.epochs"),
    ),
    (
        script,
        {"strategy": "Hyperband", "strategy_config": {"max_resource": 20_001}},
        limit("hyperband-cap", "strategy_config.max_resource"),
    ),
    (
        script,
        {"strategy": "Hyperband", "strategy_config": {"min_resource": 0}},
        limit("hyperband-order", "strategy_config.min_resource"),
    ),
    (
        script,
        {"strategy": "Hyperband", "strategy_config": {"min_resource": 9}},
        rule("hyperband-order", "strategy_config.min_resource"),
    ),
    (
        script,
        {"strategy": "Hyperband", "strategy_config": {"min_resource": 9, "max_resource": 3}},
        rule("hyperband-order", "strategy_config", "give min_resource <= max_resource"),
    ),
    (
        script,
        {"strategy": "Hyperband", "strategy_config": {}},
        rule("hyperband-order", "strategy_config", "give min_resource <= max_resource"),
    ),
    (script, {"strategy": "Hyperband", "strategy_config": {"max_epochs": 3}}, rule("unknown-key", "strategy_config")),
    (script, {"strategy": "Hyperband", "strategy_config": 5}, limit("spec", "strategy_config")),
    (script, {"strategy": "Grid", "max_jobs": None}, rule("grid-categorical")),
    (script, {"strategy": "Grid", "hyperparameter_ranges": {"colour": COLOURS}}, rule("grid-budget")),
    (script, {"hyperparameter_ranges": {"colour": COLOURS}, "max_jobs": 10}, rule("too-few-combinations")),
    (script, {"strategy": "Hyperband", "warm_start": {"parents": ["p"]}}, rule("warm-start-strategy")),
    (
        script,
        {"warm_start": {"parents": [f"p{n}" for n in range(6)]}},
        limit("warm-start-parents", "warm_start.parents"),
    ),
    (script, {"warm_start": {"parents": []}}, limit("warm-start-parents", "warm_start.parents")),
    (script, {"warm_start": {"parents": ["p", "P"]}}, rule("warm-start-twice", "warm_start")),
    (
        script,
        {"warm_start": {"parents": ["under_score"]}},
        limit("warm-start-parents", "warm_start.parents.0"),
        limit("warm-start-parents", "warm_start.parents"),
    ),
    (
        script,
        {"warm_start": {"parents": ["p"], "warm_start_type": "Same"}},
        limit("spec", "warm_start.warm_start_type"),
    ),
    (script, {"warm_start": {}}, limit("warm-start-parents", "warm_start.parents")),
    (script, {"completion_criteria": {}}, rule("completion-criteria", "completion_criteria")),
    (
        script,
        {"completion_criteria": {"max_number_of_training_jobs_not_improving": 2}},
        limit("completion-criteria", "completion_criteria.max_number_of_training_jobs_not_improving"),
    ),
    (
        script,
        {"completion_criteria": {"target_objective_metric_value": "best"}},
        limit("spec", "completion_criteria.target_objective_metric_value"),
    ),
    (script, {"base_tuning_job_name": "under_score"}, limit("name", "base_tuning_job_name")),
    (script, {"base_tuning_job_name": 5}, limit("name", "base_tuning_job_name")),
    # The names and values of these were taken for rules.
    (script, {"base_tuning_job_name": "churn_test"}, limit("name", "base_tuning_job_name")),
    (script, {"base_tuning_job_name": "distribution_test"}, limit("name", "base_tuning_job_name")),
    (script, {"base_tuning_job_name": "max_wait_sweep"}, limit("name", "base_tuning_job_name")),
    (
        script,
        {"hyperparameter_ranges/tags": {**CONTINUOUS, "max_value": "high"}},
        limit("range-bounds", "hyperparameter_ranges.tags.max_value"),
    ),
    (script, {"inputs/role": {"uri": "train.csv", "compression": "Zip"}}, limit("channels", "inputs.role.compression")),
    (script, {"estimator/environment/strategy": 5}, limit("environment", "estimator.environment.strategy")),
    (
        several,
        {"estimators/tags": {"estimator": builtin()["estimator"], "objective_type": "Up"}},
        limit("spec", "estimators.tags.objective_type"),
    ),
    (several, {"estimators/one/estimator/input_mode": "Stream"}, limit("spec", "estimators.one.estimator.input_mode")),
]
