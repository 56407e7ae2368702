"""Each file in estimators/ loads, fits the script that it names, and names images that SageMaker has."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
from forks import run_program

from sm_tuning import check, spec
from sm_tuning.executor.algorithms import rules_of

ESTIMATORS = Path(__file__).parents[2] / "estimators"
FILES = sorted(ESTIMATORS.glob("*.yaml"))
#: Where argparse keeps an option whose name is a keyword of Python.
DESTINATIONS = {"lambda": "reg_lambda"}
IMAGES = """
import json, sys
from sagemaker.core import image_uris
print(json.dumps([image_uris.retrieve(**arguments) for arguments in json.loads(sys.argv[1])]))
"""


def loaded():
    return {path.stem: spec.load(path, environ={}) for path in FILES}


def with_script():
    return [pytest.param(tuning, id=name) for name, tuning in loaded().items() if tuning.estimator.entry_point]


def module_of(tuning, name):
    path = Path(tuning.estimator.source_dir) / f"{name}.py"
    specification = importlib.util.spec_from_file_location(f"{path.parent.name}_{name}", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def corners(range_):
    """The values of a range at its ends, or all of its values."""
    return range_.values if range_.type == "categorical" else (range_.min_value, range_.max_value)


def test_the_estimators_are_the_three_that_the_documentation_names():
    assert [path.stem for path in FILES] == ["pytorch-digits", "xgboost-breast-cancer-script", "xgboost-diabetes"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_data_is_there_and_the_budget_is_small(path):
    tuning = spec.load(path, environ={})

    assert all(Path(channel.uri).is_file() for channel in tuning.inputs.values())
    assert {channel.content_type for channel in tuning.inputs.values()} == {"text/csv"}
    assert 2 == tuning.max_parallel_jobs <= tuning.max_jobs <= 20
    assert tuning.random_seed is not None
    assert tuning.base_tuning_job_name


def test_metric_definitions_are_those_of_the_script():
    tuning = loaded()["pytorch-digits"]
    definitions = [{"Name": d.name, "Regex": d.regex} for d in tuning.estimator.metric_definitions]

    assert definitions == module_of(tuning, "metrics").DEFINITIONS
    assert tuning.objective_metric_name in [d["Name"] for d in definitions]


@pytest.mark.parametrize("tuning", with_script())
def test_the_script_takes_every_hyperparameter_at_the_ends_of_its_range(tuning):
    arguments = module_of(tuning, "arguments")
    fixed = [f"--{name}={value}" for name, value in tuning.estimator.hyperparameters.items()]

    assert (Path(tuning.estimator.source_dir) / tuning.estimator.entry_point).is_file()
    for name, range_ in tuning.hyperparameter_ranges.items():
        for value in corners(range_):
            parsed = vars(arguments.parse([*fixed, f"--{name}", str(value)], {}))
            assert parsed[DESTINATIONS.get(name, name.replace("-", "_"))] == value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_aws_would_accept_it(path):
    findings = check(path, region="us-east-1")

    assert [str(finding) for finding in findings if finding.severity in ("error", "advice")] == []


def test_the_script_of_the_xgboost_image_prints_the_metrics_that_the_image_defines():
    tuning = loaded()["xgboost-breast-cancer-script"]
    names = module_of(tuning, "metrics").NAMES

    assert tuning.estimator.metric_definitions == ()
    assert tuning.objective_metric_name in names
    assert set(names) <= {item["Name"] for item in rules_of(tuning.estimator.version).metric_definitions}


def test_the_built_in_algorithm_is_given_no_metric_definitions():
    tuning = loaded()["xgboost-diabetes"]

    assert tuning.estimator.entry_point is None
    assert tuning.estimator.metric_definitions == ()
    assert (tuning.objective_metric_name, tuning.objective_type) == ("validation:rmse", "Minimize")


def test_the_images_are_known_to_sagemaker(processes):
    wanted = [
        {
            "framework": tuning.estimator.type,
            "region": "us-east-1",
            "version": getattr(tuning.estimator, "framework_version", None) or tuning.estimator.version,
            "py_version": getattr(tuning.estimator, "py_version", None),
            "instance_type": tuning.estimator.instance_type,
            "image_scope": "training",
        }
        for tuning in loaded().values()
    ]

    command = [sys.executable, "-c", IMAGES, json.dumps(wanted)]
    done = run_program(command, preload="sdk", cwd=Path.cwd(), env=os.environ)

    assert done.returncode == 0, done.stderr
    assert [uri.partition("/")[2] for uri in json.loads(done.stdout.splitlines()[-1])] == [
        "pytorch-training:2.6-cpu-py312",
        "sagemaker-xgboost:1.7-1",
        "sagemaker-xgboost:1.7-1",
    ]
