"""Check infrastructure as code with other people's tools: ``python iac.py ENVIRONMENT``, which has checkov.

Renders templates of CloudFormation and configurations of Terraform, and synthesizes the CDK's, for specs that have
every resource between them. cfn-lint must report nothing, and checkov nothing but what the templates skip with a
reason. Resources of Terraform must fit the provider's schema.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from provider_schema import Schemas

import sm_tuning as smt
from sm_tuning.aws import Aws
from sm_tuning.deploy import StackOptions, cloudformation_template, terraform_configuration

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "estimators" / "xgboost-diabetes.yaml"
ROLE = "arn:aws:iam::123456789012:role/Training"

FULL = {"threshold": 70, "model_package_group": "diabetes", "schedule": "rate(7 days)"}
OPTIONS: dict[str, dict[str, Any]] = {
    "full": {**FULL, "notify": "team@example.com"},
    "topic": {**FULL, "notify": "arn:aws:sns:us-east-1:123456789012:ours", "integration": "sdk"},
    "plain": {},
    "notice": {"notify": "team@example.com"},
}

#: What is rendered: pairs that have every resource and every member of a request between them.
RENDERED = [
    *(("xgboost", options) for options in OPTIONS),
    ("every-member", "full"),
    ("every-member", "plain"),
    ("several", "plain"),
]


def specs() -> Iterator[tuple[str, smt.Tuning]]:
    """Yield specs by name: with few members, with many, and with several estimators."""
    yield "xgboost", smt.load(SPEC)
    settings = {
        "role": ROLE,
        "output_path": "s3://models/out",
        "use_spot_instances": "true",
        "max_wait": "90000",
        "checkpoint_s3_uri": "s3://state/checkpoints",
        "subnets": "[subnet-1]",
        "security_group_ids": "[sg-1]",
        "output_kms_key": "alias/models",
        "tags": "{team: a}",
        "environment": "{MODE: fast}",
        "max_retry_attempts": "2",
    }
    yield "every-member", smt.load(SPEC, overrides=[f"estimator.{key}={value}" for key, value in settings.items()])
    one = smt.load(SPEC)
    shared = ("estimator", "objective_metric_name", "objective_type", "hyperparameter_ranges")
    definition = smt.TrainingDefinition(**{name: getattr(one, name) for name in shared})
    nothing = {"estimator": None, "objective_metric_name": None, "hyperparameter_ranges": {}}
    yield "several", one.replace(estimators={"a": definition, "b": definition}, autotune=True, **nothing)


def write(folder: Path) -> None:
    """Write each template into a folder of its own."""
    session = boto3.Session("key", "secret", region_name="us-east-1")
    aws = Aws(session, region="us-east-1", endpoint_url="http://127.0.0.2:9", environ={})  # nothing is asked
    tunings = dict(specs())
    for name, options in RENDERED:
        for file, form in (("template.json", cloudformation_template), ("main.tf.json", terraform_configuration)):
            path = folder / f"{name}-{options}" / file
            path.parent.mkdir(exist_ok=True)
            made = form(tunings[name], StackOptions(**OPTIONS[options]), name="diabetes", aws=aws)
            path.write_text(json.dumps(made, indent=2), "utf-8")


def synthesize(folder: Path) -> None:
    """Write the template of a CDK app with everything that the construct makes."""
    import aws_cdk as cdk

    from sm_tuning.deploy.cdk import TuningJob, TuningJobProps

    app = cdk.App(outdir=str(folder / "cdk"))
    stack = cdk.Stack(app, "Stack", env=cdk.Environment(region="us-east-1"))
    TuningJob(stack, "Tuning", TuningJobProps(spec=SPEC, notify="team@example.com", **FULL))
    app.synth()
    for path in (folder / "cdk").iterdir():
        if path.name != "Stack.template.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def lint(folder: Path) -> list[str]:
    """Return what cfn-lint reports."""
    templates = sorted(map(str, [*folder.rglob("template.json"), *folder.rglob("*.template.json")]))
    command = [Path(sys.executable).with_name("cfn-lint"), "--format", "parseable", *templates]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and not done.stdout:
        sys.exit(done.stderr)
    print(f"cfn-lint: {len(templates)} templates")
    return done.stdout.splitlines()


def scan(folder: Path, checkov: Path) -> list[str]:
    """Return what checkov reports and the files do not skip."""
    command = [checkov, "--directory", folder, "--output", "json", "--quiet", "--compact", "--skip-download"]
    command += ["--framework", "cloudformation", "terraform_json"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "LOG_LEVEL": "ERROR"}
    )
    if not done.stdout:
        sys.exit(done.stderr)
    reports = json.loads(done.stdout)
    found = []
    for report in reports if isinstance(reports, list) else [reports]:
        summary = report["summary"]
        print(f"checkov, {report['check_type']}: {summary['passed']} passed, {summary['skipped']} skipped")
        assert summary["passed"] > 50
        assert summary["parsing_errors"] == 0
        failed = [check for check in report["results"]["failed_checks"] if not is_skipped(folder, check)]
        found += [f"{one['file_path']}: {one['resource']}: {one['check_id']} {one['check_name']}" for one in failed]
    return found


def is_skipped(folder: Path, failed: dict[str, Any]) -> bool:
    """Return whether a resource of Terraform skips a check in its comment, which checkov does not read in JSON."""
    path = folder / failed["file_path"].lstrip("/")
    if path.name != "main.tf.json":
        return False
    # Some checks name the resource's kind, some do not.
    name = failed["resource"].rpartition(".")[2]
    named = [resources.get(name, {}) for resources in json.loads(path.read_text("utf-8"))["resource"].values()]
    skips = [comment for resource in named for comment in resource.get("//", [])]
    return any(comment.startswith(f"checkov:skip={failed['check_id']}: ") for comment in skips)


def misfits(folder: Path, environment: Path) -> list[str]:
    """Return what the provider's schema does not have."""
    schemas = Schemas(environment)
    wrong = {"topic_arn": "t", "protocol": 1, "endpont": "e"}
    assert len(list(schemas.problems("aws_sns_topic_subscription", wrong))) == 3, "the schema finds no mistake"
    found, checked = [], 0
    for path in sorted(folder.rglob("main.tf.json")):
        for kind, named in json.loads(path.read_text("utf-8"))["resource"].items():
            for name, arguments in named.items():
                checked += 1
                found += [
                    f"{path.parent.name}: {kind}.{name}: {problem}" for problem in schemas.problems(kind, arguments)
                ]
    print(f"schema of the AWS provider {schemas.version}: {checked} resources of {len(schemas.read)} kinds")
    return found


def main(environment: Path) -> int:
    """Print what is wrong, and return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        synthesize(folder)
        problems = [*lint(folder), *scan(folder, environment / "bin" / "checkov"), *misfits(folder, environment)]
    print("\n".join(problems) or "no findings")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
