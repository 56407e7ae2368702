"""One spec for each rule that it breaks: the message states the rule, the value, and the place."""

import re

import pytest

from sm_tuning import SmTuningError, SpecError
from sm_tuning.spec import (
    CategoricalParameter,
    CompletionCriteria,
    ContainerEstimator,
    ContinuousParameter,
    DatasetInput,
    FileSystemInput,
    HyperbandConfig,
    Input,
    InstanceConfig,
    IntegerParameter,
    MetricDefinition,
    PyTorchEstimator,
    TrainingDefinition,
    Tuning,
    WarmStart,
    XGBoostEstimator,
)

ETA = {"eta": ContinuousParameter(0.1, 0.5)}
ABC = {"a": CategoricalParameter(["x", "y", "z"])}


def xgboost(**fields):
    return XGBoostEstimator(**{"version": "1.7-1", "instance_type": "ml.m5.large"} | fields)


def pytorch(**fields):
    default = {
        "entry_point": "train.py",
        "framework_version": "2.6",
        "py_version": "py312",
        "instance_type": "ml.g5.xlarge",
        "metric_definitions": {"acc": "acc=(.*)"},
    }
    return PyTorchEstimator(**default | fields)


def container(**fields):
    default = {"image_uri": "own:1", "instance_type": "ml.m5.large", "metric_definitions": {"acc": "acc=(.*)"}}
    return ContainerEstimator(**default | fields)


def tuning(**fields):
    default = {
        "estimator": xgboost(),
        "inputs": {"train": "s3://b/d"},
        "objective_metric_name": "validation:rmse",
        "hyperparameter_ranges": ETA,
    }
    return Tuning(**default | fields)


def several(**fields):
    one = {"estimator": xgboost(), "objective_metric_name": "validation:rmse", "hyperparameter_ranges": ETA}
    default = {"estimators": {"one": TrainingDefinition(**one)}, "inputs": {"train": "s3://b/d"}}
    return Tuning(**default | fields)


def distributed(distribution, **fields):
    return pytorch(distribution=distribution, **fields)


PARAMETERS = [
    (lambda: ContinuousParameter(1, 1), "min_value < max_value must hold, but got min_value=1.0, max_value=1.0"),
    (lambda: IntegerParameter(5, 1), "min_value < max_value must hold, but got min_value=5, max_value=1"),
    (
        lambda: ContinuousParameter(0, 1, "Logarithmic"),
        "a Logarithmic scale needs 0 < min_value, but got min_value=0.0",
    ),
    (lambda: IntegerParameter(0, 5, "Logarithmic"), "a Logarithmic scale needs 0 < min_value"),
    (lambda: ContinuousParameter(0, 1, "ReverseLogarithmic"), "needs 0 <= min_value and max_value < 1"),
    (lambda: ContinuousParameter(-1, 0.5, "ReverseLogarithmic"), "needs 0 <= min_value and max_value < 1"),
    (lambda: IntegerParameter(1, 5, "ReverseLogarithmic"), "for continuous ranges only"),
    (lambda: ContinuousParameter(0, float("inf")), "max_value: .*finite"),
    (lambda: ContinuousParameter(0, float("nan")), "max_value: .*finite"),
    (lambda: IntegerParameter(0.5, 2), r"min_value: .*but got 0\.5"),
    (lambda: ContinuousParameter(0, 1, "Log"), "scaling_type: .*but got 'Log'"),
    (lambda: CategoricalParameter(["a"]), r"has 2 to 30 values, but got 1: \['a'\]"),
    (lambda: CategoricalParameter("a"), r"has 2 to 30 values, but got 1: \['a'\]"),
    (lambda: CategoricalParameter(list(range(31))), "has 2 to 30 values, but got 31"),
    (lambda: CategoricalParameter([1, 1]), "must differ"),
    (lambda: CategoricalParameter([1, "1"]), "must differ, also as text"),
    (lambda: CategoricalParameter([1.5, float("nan")]), "finite"),
]

INPUTS = [
    (lambda: Input(uri=""), "uri: .*but got ''"),
    (
        lambda: Input(uri="s3://b", input_mode="FastFile", s3_data_type="ManifestFile"),
        "FastFile needs s3_data_type S3Prefix",
    ),
    (lambda: Input(uri="s3://b", attribute_names=["a"]), "for s3_data_type AugmentedManifestFile only"),
    (lambda: Input(uri="s3://b", distribution="Sharded"), "distribution: .*but got 'Sharded'"),
    (
        lambda: FileSystemInput(file_system_id="efs-1", file_system_type="EFS", directory_path="/"),
        "file_system_id: .*but got 'efs-1'",
    ),
    (lambda: DatasetInput(dataset_arn=""), "dataset_arn"),
    (lambda: tuning(inputs={"a b": "s3://b"}), "inputs.a b"),
    (lambda: tuning(inputs={}), "inputs is required"),
    (
        lambda: tuning(
            inputs={"t": {"file_system_id": "fs-0123abcd", "file_system_type": "EFS", "directory_path": "/"}}
        ),
        "a file-system input needs subnets and security_group_ids",
    ),
]

PLAN = "arn:aws:sagemaker:us-east-1:123456789012:training-plan/p1"


def preferring(*preferences, **fields):
    return xgboost(instance_type=None, instance_preferences=preferences, **fields)


ESTIMATORS = [
    (lambda: xgboost(instance_type=None), r"exactly one of instance_type, .* is needed, but got \[\]"),
    (
        lambda: xgboost(instance_configs=[InstanceConfig(instance_type="ml.m5.large")]),
        r"exactly one of .* but got \['instance_type', 'instance_configs'\]",
    ),
    (lambda: xgboost(allocation_strategy="Prioritized"), "allocation_strategy is for instance_configs only"),
    (
        lambda: xgboost(
            instance_type=None, resource_config={"InstanceType": "a"}, instance_count=2, volume_kms_key="k"
        ),
        "instance_count, volume_kms_key: put these into resource_config",
    ),
    (
        lambda: xgboost(instance_type=None, instance_configs=[{"instance_type": "a"}], volume_size=9),
        "instance_count and volume_size belong into each of instance_configs",
    ),
    (
        lambda: preferring({"instance_type": "a", "instance_count": 2}, {"instance_type": "b"}),
        "give instance_count in all of instance_preferences or in none, but 1 have one",
    ),
    (
        lambda: preferring({"instance_type": "a", "instance_count": 2}, instance_count=3),
        "instance_count=3 is for instance_preferences without one of their own",
    ),
    (lambda: preferring({"instance_type": "a"}, {"instance_type": "a"}), "instance_preferences name a more than once"),
    (
        lambda: preferring({"instance_type": "a"}, use_spot_instances=True, max_wait=86400),
        "instance_preferences cannot be combined with use_spot_instances",
    ),
    (
        lambda: preferring({"instance_type": "a", "training_plan": PLAN}, training_plan=PLAN),
        "training_plan is given for the job and in instance_preferences",
    ),
    (lambda: preferring(*[{"instance_type": f"t{n}"} for n in range(6)]), "instance_preferences: .*at most 5"),
    (lambda: xgboost(training_plan="p"), "training_plan: .*pattern"),
    (
        lambda: xgboost(instance_type=None, instance_configs=[{"instance_type": "a"}], training_plan=PLAN),
        "training_plan cannot be combined with instance_configs",
    ),
    (
        lambda: xgboost(instance_type=None, resource_config={"InstanceType": "a"}, training_plan=PLAN),
        "training_plan: put these into resource_config",
    ),
    (lambda: xgboost(subnets=["s"]), "subnets and security_group_ids go together"),
    (lambda: xgboost(security_group_ids=["s"]), "subnets and security_group_ids go together"),
    (lambda: xgboost(max_wait=9), "max_wait=9 is for use_spot_instances=True only"),
    (lambda: xgboost(use_spot_instances=True), "use_spot_instances needs max_wait"),
    (
        lambda: xgboost(use_spot_instances=True, max_run=60, max_wait=59),
        "max_wait >= max_run must hold, but got max_wait=59, max_run=60",
    ),
    (lambda: xgboost(checkpoint_local_path="/a"), "checkpoint_local_path needs checkpoint_s3_uri"),
    (lambda: xgboost(checkpoint_s3_uri="/a"), "checkpoint_s3_uri: .*but got '/a'"),
    (lambda: xgboost(max_run=0), "max_run: .*but got 0"),
    (lambda: xgboost(max_retry_attempts=31), "max_retry_attempts: .*but got 31"),
    (lambda: xgboost(max_pending=60), "max_pending: .*but got 60"),
    (lambda: xgboost(hyperparameters={"sagemaker_program": "a"}), "sagemaker_program: these names belong to SageMaker"),
    (lambda: xgboost(tags={str(n): "" for n in range(51)}), "tags: "),
    (
        lambda: container(metric_definitions={str(n): "(a)" for n in range(41)}),
        "at most 40 metric_definitions, but got 41",
    ),
    (
        lambda: container(metric_definitions=[{"Name": "a", "Regex": "(a)"}, {"Name": "a", "Regex": "(b)"}]),
        "different names, but a is given more than once",
    ),
    (lambda: MetricDefinition(name="a", regex="(a"), "the regular expression '.a' does not compile"),
    (lambda: MetricDefinition(name="a", regex="a=.*"), "needs a group"),
    (lambda: xgboost(metric_definitions={"a": "(a)"}), "takes no metric_definitions"),
    (lambda: xgboost(version=None), "exactly one of version and image_uri is needed"),
    (lambda: xgboost(image_uri="a:1"), "exactly one of version and image_uri is needed"),
    (lambda: xgboost(source_dir="src", dependencies=["a"]), "source_dir, dependencies need an entry_point"),
    (lambda: pytorch(entry_point="train.txt"), r"entry_point must be a \.py or \.sh file, but got 'train.txt'"),
    (lambda: pytorch(source_dir="s3://b/folder"), "source_dir must be a local folder or an s3://"),
    (lambda: pytorch(source_dir="https://b/a.tar.gz"), "source_dir must be a local folder or an s3://"),
    (lambda: pytorch(source_dir="s3://b/a.tar.gz", dependencies=["lib"]), "dependencies cannot be added"),
    (lambda: pytorch(entry_point=None), "entry_point is required"),
    (lambda: pytorch(py_version=None), "framework_version and py_version go together"),
    (lambda: pytorch(image_uri="a:1"), "exactly one of framework_version"),
    (lambda: container(algorithm_name="a"), "exactly one of image_uri and algorithm_name is needed"),
    (lambda: container(image_uri=None, algorithm_name="a"), "brings its own metrics and code"),
    (lambda: xgboost(instance_typ="a"), "unknown key 'instance_typ'; did you mean 'instance_type'"),
    (lambda: xgboost(qqq="a"), "unknown key 'qqq'; known keys are allocation_strategy, "),
]

DISTRIBUTIONS = [
    (lambda: distributed({}), r"distribution names one launcher, but got \[\]"),
    (lambda: distributed({"mpi": {"enabled": True}, "pytorchddp": {"enabled": True}}), "names one launcher"),
    (lambda: distributed({"smdistributed": {"enabled": True}}), "needs one of dataparallel and modelparallel"),
    (lambda: distributed({"torchrun": {"enabled": True}}), "cannot be honoured .* use torch_distributed"),
    (lambda: distributed({"horovod": {"enabled": True}}), "known launchers are mpi, pytorchddp, torch_distributed"),
    (lambda: distributed({"mpi": {"enabled": False}}), "needs {'enabled': True}, but got {'enabled': False}"),
    (lambda: distributed({"torch_distributed": {"enabled": True, "nproc": 4}}), "has no option nproc"),
    (
        lambda: distributed({"mpi": {"enabled": True, "processes_per_host": 0}}),
        "processes_per_host must be .* but got 0",
    ),
    (
        lambda: distributed({"torch_distributed": {"enabled": True}}, entry_point="run.sh"),
        "starts Python scripts only, but entry_point is 'run.sh'",
    ),
]

JOBS = [
    (lambda: tuning(estimator=None), "exactly one of estimator and estimators is needed"),
    (
        lambda: tuning(estimators={"one": TrainingDefinition(estimator=xgboost(), hyperparameter_ranges=ETA)}),
        "exactly one of estimator and estimators is needed",
    ),
    (lambda: several(hyperparameter_ranges=ETA), "each has hyperparameter_ranges of its own"),
    (lambda: several(warm_start=WarmStart(parents=["p"])), "warm_start works with a single estimator only"),
    (lambda: several(early_stopping_type="Auto"), "early_stopping_type 'Auto' works with a single estimator only"),
    (lambda: several(inputs={}), "estimators.one: inputs is required"),
    (
        lambda: tuning(estimator=xgboost(environment={f"A{n}": "1" for n in range(49)})),
        "at most 48 environment variables over all estimators, but got 49",
    ),
    (
        lambda: Tuning(
            estimators={
                key: TrainingDefinition(estimator=xgboost(tags={"team": key}), hyperparameter_ranges=ETA)
                for key in ("a", "b")
            },
            inputs={"train": "s3://b/d"},
            objective_metric_name="validation:rmse",
        ),
        "one value for a tag, but 'team' is 'a' and 'b'",
    ),
    (lambda: tuning(objective_metric_name=None), "objective_metric_name is required"),
    (
        lambda: tuning(estimator=pytorch(), objective_metric_name="loss"),
        r"objective_metric_name 'loss' has no metric definition: .* which has \['acc'\]",
    ),
    (lambda: tuning(hyperparameter_ranges={}), "hyperparameter_ranges needs at least one range"),
    (lambda: tuning(auto_parameters={"a": "1"}), "auto_parameters needs autotune=True"),
    (
        lambda: tuning(hyperparameter_ranges={f"p{n}": ContinuousParameter(0, 1) for n in range(31)}),
        "at most 30 hyperparameter_ranges, but got 31",
    ),
    (
        lambda: tuning(estimator=xgboost(hyperparameters={"eta": 1})),
        "eta: a hyperparameter is either static .* or tuned",
    ),
    (lambda: tuning(autotune=True, auto_parameters={"eta": "1"}), "eta: give a range or an autotune hint, not both"),
    (
        lambda: tuning(estimator=xgboost(hyperparameters={f"p{n}": 1 for n in range(99)})),
        "at most 100 hyperparameters, .* but got 101",
    ),
    (lambda: tuning(strategy="Grid"), "strategy 'Grid' takes categorical ranges only, but eta is not"),
    (
        lambda: tuning(strategy="Grid", hyperparameter_ranges=ABC, max_jobs=2),
        "max_jobs must be 3 or left out, but is 2",
    ),
    (lambda: tuning(hyperparameter_ranges=ABC, max_jobs=4), "the ranges have 3 combinations, fewer than max_jobs=4"),
    (
        lambda: tuning(strategy="Hyperband", strategy_config={"max_resource": 9}, early_stopping_type="Auto"),
        "early_stopping_type must be 'Off', not 'Auto'",
    ),
    (lambda: tuning(strategy="Hyperband"), "strategy 'Hyperband' needs strategy_config.max_resource"),
    (lambda: tuning(strategy_config={"max_resource": 9}), "strategy_config is for strategy 'Hyperband' only"),
    (
        lambda: tuning(strategy="Grid", hyperparameter_ranges=ABC, warm_start={"parents": ["p"]}),
        "warm_start works with strategy Bayesian and Random, but strategy is 'Grid'",
    ),
    (lambda: tuning(strategy="bayesian"), "strategy: .*but got 'bayesian'"),
    (lambda: tuning(objective_type="Min"), "objective_type: .*but got 'Min'"),
    (lambda: tuning(random_seed=-1), "random_seed: .*but got -1"),
    (lambda: tuning(max_runtime_in_seconds=60), "max_runtime_in_seconds: .*but got 60"),
    (lambda: tuning(base_tuning_job_name="my_job"), "base_tuning_job_name: .*but got 'my_job'"),
    (lambda: tuning(hyperparameter_ranges={"eta": {"min_value": 1}}), "needs type: continuous, integer or categorical"),
    (lambda: tuning(estimator={"version": "1"}), "estimator: an estimator needs type: xgboost, pytorch or container"),
    (lambda: tuning(max_job=5), "unknown key 'max_job'; did you mean 'max_jobs'"),
    (HyperbandConfig, "needs min_resource or max_resource"),
    (
        lambda: HyperbandConfig(min_resource=3, max_resource=2),
        "min_resource <= max_resource must hold, but got 3 and 2",
    ),
    (CompletionCriteria, "completion_criteria needs one of target_objective_metric_value"),
    (lambda: CompletionCriteria(max_number_of_training_jobs_not_improving=2), "but got 2"),
    (lambda: WarmStart(parents=[]), "parents: "),
    (lambda: WarmStart(parents=["Job", "job"]), "parents must be different tuning jobs"),
    (lambda: WarmStart(parents=["bad_name"]), "parents.0: .*but got 'bad_name'"),
]


@pytest.mark.parametrize(("build", "rule"), [*PARAMETERS, *INPUTS, *ESTIMATORS, *DISTRIBUTIONS, *JOBS])
def test_a_broken_rule_is_stated(build, rule):
    with pytest.raises(SpecError) as caught:
        build()
    assert re.search(rule, str(caught.value)), str(caught.value)


def test_a_problem_says_its_place_in_the_spec():
    data = {
        "estimator": {"type": "pytorch", "entry_point": "a.py", "image_uri": "a:1", "instance_type": "x", "max_run": 0},
        "hyperparameter_ranges": {"lr": {"type": "continuous", "min_value": 2, "max_value": 1}},
        "inputs": {"train": {"uri": "s3://b", "distributoin": "x"}},
    }
    with pytest.raises(SpecError) as caught:
        Tuning.parse(data, where="job.yaml")
    places = sorted(problem.split(": ")[1] for problem in caught.value.problems)
    assert places == ["estimator.max_run", "hyperparameter_ranges.lr", "inputs.train"]
    assert all(problem.startswith("job.yaml: ") for problem in caught.value.problems)


def test_an_unknown_key_hides_no_problem_but_those_that_it_may_cause():
    data = {
        "estimatr": {"type": "pytorch"},
        "max_jobs": 0,
        "hyperparameter_ranges": {"lr": {"type": "continuous", "min_value": 2, "max_value": 1, "scale": "Linear"}},
        "inputs": {"train": {"uri": "s3://b", "distributoin": "x", "content_type": 3}},
    }
    with pytest.raises(SpecError) as caught:
        Tuning.parse(data)
    found = [(problem.where, problem.code) for problem in caught.value.details]
    assert sorted(found) == [
        ("", "unknown-key"),
        ("hyperparameter_ranges.lr", "unknown-key"),
        ("inputs.train", "unknown-key"),
        ("inputs.train.content_type", "channels"),
        ("max_jobs", "jobs-limit"),
    ]


def test_problems_are_one_kind_of_error_and_exit_with_2():
    with pytest.raises(SmTuningError) as caught:
        tuning(max_jobs=0, max_parallel_jobs=0)
    assert caught.value.exit_code == 2
    assert len(caught.value.problems) == 2
