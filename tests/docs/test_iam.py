"""The policies of docs/iam.md allow every call that the code makes, feature by feature."""

from __future__ import annotations

import ast
import fnmatch
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import boto3
import pytest
from docs_pages import DOCS, ROOT

PACKAGE = ROOT / "sm_tuning"

#: Which policies hold for a part of the package; the longest path that fits counts. What runs on the local
#: SageMaker alone needs none.
FEATURES: dict[str, tuple[str, ...]] = {
    "archive/": ("Folders in S3",),
    "aws/_aws.py": ("Read",),
    "aws/_identity.py": ("Launch",),
    "aws/_price_list.py": ("Cost", "Preflight online"),
    "aws/_upload.py": ("Launch",),
    "jobs/_launch.py": ("Launch",),
    "jobs/_control.py": ("Stop", "Launch"),
    "jobs/_read.py": ("Read", "Stop"),
    "_best.py": ("Read",),
    "_handle.py": ("Read",),
    "_training_job.py": ("Read",),
    "studies/": ("Study", "Read"),
    "_automl.py": ("Autopilot",),
    "fleet/": ("Fleet", "Read"),
    "gate/": ("Read", "Pipeline"),
    "results/": ("Read", "Logs and metrics"),
    "views/": ("Read",),
    "preflight/": ("Preflight online",),
    "preflight/_trial.py": (),
    "deploy/_endpoint.py": ("Deploy",),
    "deploy/_evaluate.py": ("Evaluate",),
    "deploy/_serving_code.py": ("Evaluate",),
    "deploy/_test_set.py": ("Evaluate",),
    "deploy/_model.py": ("Register", "Retrain", "Deploy"),
    "deploy/_register.py": ("Register", "Pipeline"),
    "deploy/_train.py": ("Retrain",),
}

#: Features of which each policy must cover the calls by itself; elsewhere they do so together.
ALONE = {"deploy/_model.py", "deploy/_register.py", "gate/"}

#: Actions whose names are not those of the operations [Service Authorization Reference].
ACTIONS = {
    "s3:HeadBucket": {"s3:ListBucket"},
    "s3:ListObjectsV2": {"s3:ListBucket"},
    "s3:HeadObject": {"s3:GetObject"},
    "s3:upload_file": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "sts:GetCallerIdentity": set(),
    "sagemaker-runtime:InvokeEndpoint": {"sagemaker:InvokeEndpoint"},
    "service-quotas:ListServiceQuotas": {"servicequotas:ListServiceQuotas"},
}

#: What SageMaker asks for beside the operation itself.
BESIDE = {
    "sagemaker:CreateHyperParameterTuningJob": {"iam:PassRole", "sagemaker:AddTags"},
    "sagemaker:CreateTrainingJob": {"iam:PassRole", "sagemaker:AddTags"},
    "sagemaker:CreateTransformJob": {"sagemaker:AddTags"},
    "sagemaker:CreateModel": {"iam:PassRole", "sagemaker:AddTags"},
    "sagemaker:CreateModelPackageGroup": {"sagemaker:AddTags"},
}

SERVICES = ("sagemaker", "sagemaker-runtime", "s3", "sts", "iam", "logs", "cloudwatch", "pricing", "service-quotas")


@cache
def operations(service: str) -> dict[str, str]:
    """A service's operations by the names of the client's methods."""
    client = boto3.client(service, "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    return dict(client.meta.method_to_api_mapping)


@cache
def calls_of(path: Path) -> tuple[tuple[str, str], ...]:
    """The operations that a module calls; of a call whose method is a variable, all methods that it names."""
    source = path.read_text(encoding="utf-8")
    return tuple(_calls_in(path, source)) if has_calls(source) else ()


def has_calls(source: str) -> bool:
    """Whether a module may call an operation; most do not, and reading their syntax takes a second."""
    return re.search(r"\.(call|pages|upload_file|tags)\(", source) is not None


def _calls_in(path: Path, source: str) -> Iterator[tuple[str, str]]:
    nodes = list(ast.walk(ast.parse(source)))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for node in nodes:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        first, *rest = [*node.args, None, None]
        if node.func.attr in ("call", "pages") and isinstance(first, ast.Constant) and first.value in SERVICES:
            service, method = first.value, rest[0]
            known = operations(service)
            named = [method.value] if isinstance(method, ast.Constant) else sorted(texts & set(known))
            assert named, f"{path}: which methods of {service} are called?"
            yield from ((service, known[name]) for name in named)
        elif node.func.attr == "upload_file":
            yield "s3", "upload_file"
        elif node.func.attr == "tags":
            yield "sagemaker", "ListTags"


def feature_of(path: Path) -> str | None:
    relative = path.relative_to(PACKAGE).as_posix()
    fits = [prefix for prefix in FEATURES if relative.startswith(prefix)]
    return max(fits, key=len, default=None)


def needed(path: Path) -> set[str]:
    actions: set[str] = set()
    for service, operation in calls_of(path):
        name = f"{service}:{operation}"
        actions |= ACTIONS.get(name, {name}) | BESIDE.get(name, set())
    return actions


def policies() -> dict[str, list[dict]]:
    """The policies of the page by their headings."""
    text = (DOCS / "iam.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {
        heading: [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", body, re.MULTILINE | re.DOTALL)]
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def allowed(*headings: str) -> set[str]:
    found = [policy for heading in headings for policy in policies()[heading]]
    return {action for policy in found for statement in policy["Statement"] for action in as_list(statement["Action"])}


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


CALLING = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "local" not in path.parts and has_calls(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("path", CALLING, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_each_call_is_in_the_policy_of_its_feature(path: Path) -> None:
    if not calls_of(path):
        return
    feature = feature_of(path)
    assert feature is not None, f"say in FEATURES which policy holds for {path.relative_to(ROOT)}"
    headings = FEATURES[feature]
    if not headings:
        return
    for group in ([heading] for heading in headings) if feature in ALONE else [list(headings)]:
        assert needed(path) - allowed(*group) == set(), group


def test_every_feature_is_a_part_of_the_package_that_calls_aws() -> None:
    assert {feature_of(path) for path in CALLING} == set(FEATURES)


def test_the_pipeline_may_do_what_launch_gate_and_register_do() -> None:
    assert allowed("Launch") | allowed("Register") | allowed("Cost") <= allowed("Pipeline")


def test_no_policy_allows_what_nobody_calls() -> None:
    everything = {action for path in CALLING for action in needed(path)}
    for heading in policies():
        if heading != "Execution role":
            assert allowed(heading) - everything == set(), heading


@pytest.mark.parametrize(
    ("heading", "number"), [(heading, n) for heading, found in policies().items() for n in range(len(found))]
)
def test_a_policy_is_one_that_iam_takes(heading: str, number: int) -> None:
    policy = policies()[heading][number]
    assert policy["Version"] == "2012-10-17"
    sids = [statement["Sid"] for statement in policy["Statement"] if "Sid" in statement]
    assert len(sids) == len(set(sids))
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        assert ("Resource" in statement) != ("Principal" in statement)
        assert all(re.fullmatch(r"[a-z0-9-]+:[A-Za-z0-9]+", action) for action in as_list(statement["Action"]))
        assert "*" not in as_list(statement["Action"])
        for arn in as_list(statement.get("Resource", "*")):
            assert arn == "*" or fnmatch.fnmatch(arn, "arn:aws:*:*:*:*")


def test_only_what_knows_no_resource_is_allowed_on_all() -> None:
    without = {
        "sagemaker:ListHyperParameterTuningJobs",
        "sagemaker:ListModelPackages",
        "sagemaker:ListTrainingJobs",
        "sagemaker:Search",
        "cloudwatch:GetMetricData",
        "cloudwatch:PutMetricData",
        "pricing:GetProducts",
        "servicequotas:ListServiceQuotas",
    }
    for heading, found in policies().items():
        for statement in (one for policy in found for one in policy["Statement"]):
            if statement.get("Resource") == "*":
                rest = set(as_list(statement["Action"])) - without
                assert all(action.startswith("ecr:") for action in rest), heading
