"""Images of AWS: the table that is shipped, a newer SDK that is installed, and what loading the SDK leaves alone."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from later import is_missing

import sm_tuning as smt
from sm_tuning._images import image_table
from sm_tuning.request import _images as images

pytestmark = pytest.mark.skipif(is_missing("sagemaker.core"), reason="needs the extra 'sdk'")

TABLE = image_table()
SCOPES = [("xgboost", "training"), ("pytorch", "training"), ("pytorch", "inference")]
SPEC = """
import logging, sys
import sm_tuning as smt
root = logging.getLogger()
before = (list(root.handlers), root.level, sys.excepthook)
estimator = smt.XGBoostEstimator(version="{version}", instance_type="ml.m5.large", max_run=60,
                                 role="arn:aws:iam::123456789012:role/T", output_path="s3://bucket/out",
                                 hyperparameters={{"num_round": 9}})
tuning = smt.Tuning(estimator=estimator, inputs={{"train": "s3://bucket/train", "validation": "s3://bucket/test"}},
                    max_jobs=1, max_parallel_jobs=1,
                    objective_metric_name="validation:rmse", objective_type="Minimize",
                    hyperparameter_ranges={{"eta": smt.ContinuousParameter(0, 1)}})
problems = [finding.message for finding in smt.check(tuning, region="eu-west-1") if finding.severity == "error"]
print(problems)
from sm_tuning.request import to_request
if problems:
    print()
else:
    definition = to_request(tuning, name="a", region="eu-west-1")["TrainingJobDefinition"]
    print(definition["AlgorithmSpecification"]["TrainingImage"])
print((list(root.handlers), root.level, sys.excepthook) == before)
print(sorted({{"scipy", "paramiko", "sagemaker.core.image_uris"}} & set(sys.modules)))
"""


def _release(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The SDK, which reads its files once and not for each call."""
    if _release(metadata.version("sagemaker-core")) < _release(TABLE["source"]):
        pytest.skip("the SDK is older than the table")
    from sagemaker.core import common_utils, image_uris

    monkeypatch.setattr(image_uris, "config_for_framework", functools.cache(image_uris.config_for_framework))
    monkeypatch.setattr(common_utils, "_botocore_resolver", functools.cache(common_utils._botocore_resolver))
    return image_uris


def answer_of(look_up: Any, *arguments: Any) -> str | None:
    try:
        return str(look_up(*arguments))
    except smt.SpecError:
        return None


def differences(sdk: Any, wanted: list[Any]) -> list[Any]:
    ours = {one: answer_of(images._from_table, one) for one in wanted}
    theirs = {one: answer_of(images._from_sdk, sdk, one) for one in wanted}
    return [(one, ours[one], theirs[one]) for one in wanted if ours[one] != theirs[one]]


@pytest.mark.parametrize(("framework", "scope"), SCOPES)
def test_the_table_has_the_images_of_the_sdk(sdk: Any, framework: str, scope: str) -> None:
    versions = TABLE["images"][framework][scope]
    types = ("ml.m5.large", "ml.g5.xlarge", "ml.p2.xlarge", "ml.p4d.24xlarge", "ml.m6g.large", "ml.trn1.2xlarge")
    wanted = [
        images._Wanted(framework, version, python or None, region, instance_type, scope)
        for version, pythons in versions.items()
        for python in pythons
        for region in ("us-east-1", "cn-north-1", "us-iso-east-1")
        for instance_type in types
    ]

    assert differences(sdk, wanted) == []
    if metadata.version("sagemaker-core") == TABLE["source"]:
        config = sdk.config_for_framework(framework)[scope]
        assert list(versions) == [*config["versions"], *config.get("version_aliases", {})]


@pytest.mark.parametrize(
    ("framework", "version", "python", "scope"),
    [
        ("xgboost", "1", None, "training"),
        ("xgboost", "1.5-1", None, "training"),
        ("pytorch", "1.6", "py3", "training"),
        ("pytorch", "2.6", "py312", "training"),
        ("pytorch", "1.12.1", "py38", "inference"),
    ],
)
def test_it_has_them_for_every_instance_type_and_region(
    sdk: Any, framework: str, version: str, python: str | None, scope: str
) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    kinds = model.shape_for("TrainingInstanceType").enum
    regions = {region for accounts in TABLE["registries"] for region in accounts} | {"xx-north-1"}
    wanted = [images._Wanted(framework, version, python, "eu-west-1", kind, scope) for kind in kinds]
    wanted += [images._Wanted(framework, version, python, region, "ml.m5.large", scope) for region in sorted(regions)]

    assert differences(sdk, wanted) == []


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (images._Wanted("xgboost", "9.9", None, "us-east-1", "ml.m5.large"), "known versions are 1, .*1.7-1, 3.0-5"),
        (images._Wanted("pytorch", "2.6", "py2", "us-east-1", "ml.m5.large"), "known Python versions are py312"),
        (images._Wanted("xgboost", "1.7-1", None, "moon-1", "ml.m5.large"), "known regions are .*eu-west-1"),
        (images._Wanted("xgboost", "1.7-1", None, "us-east-1", "ml.m6g.large"), "there is no image for ml.m6g.large"),
        (images._Wanted("pytorch", "2.9", None, "us-east-1", "ml.g5.xlarge", "inference"), "'2.9' that serves"),
    ],
)
def test_what_the_table_lacks_is_said_with_what_it_has(wanted: Any, words: str) -> None:
    with pytest.raises(smt.SpecError, match=rf"no {wanted.framework} image .*{words}.* or give image_uri"):
        images._from_table(wanted)


def run(folder: Path, version: str, *, init: str, image_uris: str = "", release: str = "999.0") -> list[str]:
    """What ``SPEC`` prints with a SageMaker SDK of these two modules and of a release."""
    about = folder / f"sagemaker_core-{release}.dist-info" / "METADATA"
    about.parent.mkdir(parents=True)
    about.write_text(f"Metadata-Version: 2.1\nName: sagemaker-core\nVersion: {release}\n")
    core = folder / "sagemaker" / "core"
    core.mkdir(parents=True)
    (folder / "sagemaker" / "__init__.py").write_text(init)
    (core / "__init__.py").write_text("")
    (core / "image_uris.py").write_text(image_uris)
    environ = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", SPEC.format(version=version)], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_without_the_sdk_the_table_answers_and_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    problems, image, untouched, loaded = run(tmp_path, "1.7-1", init="raise ImportError")

    assert (problems, untouched, loaded) == ("[]", "True", "[]")
    assert image == "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"


def test_an_sdk_that_is_installed_is_not_loaded_for_an_image_of_the_table(tmp_path: Path) -> None:
    _, image, untouched, loaded = run(tmp_path, "1.7-1", init="raise SystemExit('loaded')")

    assert (untouched, loaded) == ("True", "[]")
    assert image.endswith("/sagemaker-xgboost:1.7-1")


def test_an_sdk_that_is_no_newer_than_the_table_is_not_loaded_for_an_unknown_image(tmp_path: Path) -> None:
    problems, _, untouched, loaded = run(tmp_path, "99.0", init="raise SystemExit('loaded')", release=TABLE["source"])

    assert "no xgboost image for version '99.0' in 'eu-west-1': the known versions are 1, " in problems
    assert (untouched, loaded) == ("True", "[]")


def test_an_sdk_that_is_newer_than_the_table_is_asked_and_leaves_logging_and_stdout_alone(tmp_path: Path) -> None:
    noisy = """
import logging, sys
logging.basicConfig(level=logging.INFO)
sys.excepthook = print
defaults = logging.getLogger("sagemaker.config")
defaults.addHandler(logging.StreamHandler(sys.stdout))
defaults.setLevel(logging.INFO)
defaults.info("Not applying SDK defaults from location: /etc/xdg/sagemaker/config.yaml")
def retrieve(*_, **__): return "from-the-sdk:1"
"""
    problems, image, untouched, loaded = run(tmp_path, "99.0", init="", image_uris=noisy)

    assert (problems, image, untouched) == ("[]", "from-the-sdk:1", "True")
    assert loaded == "['sagemaker.core.image_uris']"
