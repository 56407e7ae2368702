"""Rules over a spec before money is spent, checked on this machine alone: no credentials, no call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sm_tuning._errors import SpecError
from sm_tuning.request import image_uri, stage, to_request
from sm_tuning.spec import Input, TrainingDefinition, Tuning

Severity = Literal["error", "warning"]

#: Stand for what is found at launch; they have the right form and name nothing that exists.
_ROLE = "arn:aws:iam::000000000000:role/found-at-launch"
_PREFIX = "s3://found-at-launch"
_NAME = "named-at-launch"

#: The field that many problems have in front, such as ``estimators.deep.estimator.source_dir``.
_PLACE = re.compile(r"([A-Za-z_][\w\-]*(?:\.[\w\-]+)*): (.+)", re.DOTALL)


class Finding(NamedTuple):
    """One thing that is wrong, or could be better.

    Attributes:
        code: names the rule, such as ``files``; does not change between versions.
        severity: an ``error`` would make the launch or the job fail; a ``warning`` wastes time or money.
        where: the field, such as ``estimator.source_dir``; empty for the spec as a whole.
        message: one sentence that says what is wrong and what to do.
    """

    code: str
    severity: Severity
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def check(tuning: Tuning, *, base_dir: str | Path | None = None, region: str = "us-east-1") -> list[Finding]:
    """Look for what would make a tuning job fail, or waste what it costs.

    Args:
        tuning: a spec; that it exists says that it obeys the rules of single values and of values together.
        base_dir: the folder that relative paths start from; the working directory when left out.
        region: whose container images are looked up.

    Returns:
        Errors first, each group in the order of the spec; empty when all is well.
    """
    tuning = _settled(tuning, Path(base_dir) if base_dir is not None else Path())
    return [*_errors(tuning, region), *_advice(tuning)]


def problems_of(error: SpecError, code: str = "spec", *, file: str | Path = "") -> list[Finding]:
    """The findings that an error stands for, such as that of a file that is no spec.

    Args:
        error: what was raised.
        code: the findings' code.
        file: the spec file, which its problems have in front.
    """
    found = []
    for problem in error.problems:
        match = _PLACE.fullmatch(problem.removeprefix(f"{file}: "))
        where, message = match.groups() if match else ("", problem.removeprefix(f"{file}: "))
        found.append(Finding(code, "error", where, message))
    return found


def _errors(tuning: Tuning, region: str) -> list[Finding]:
    """Stage and build as the launch does; building also checks against botocore's model."""
    found = _images(tuning, region)
    try:
        staged = stage(tuning, code_prefix=f"{_PREFIX}/code", data_prefix=f"{_PREFIX}/data")
    except SpecError as error:
        return [*problems_of(error, "files"), *found]
    if found:
        return found
    try:
        to_request(staged.tuning, name=_NAME, region=region, role=_ROLE, output_path=_PREFIX)
    except SpecError as error:
        return problems_of(error, "request")
    return []


def _images(tuning: Tuning, region: str) -> list[Finding]:
    found: list[Finding] = []
    for name, definition in tuning.definitions:
        if getattr(definition.estimator, "algorithm_name", None) is not None:
            continue
        try:
            image_uri(definition.estimator, region)
        except SpecError as error:
            place = f"{_place(name)}estimator"
            found += [Finding("image", "error", place, problem) for problem in error.problems]
    return found


def _place(name: str | None) -> str:
    return f"estimators.{name}." if name else ""


def _settled(tuning: Tuning, folder: Path) -> Tuning:
    """The tuning with absolute paths, and without role names, which only AWS could resolve."""
    several = {name: one.replace(**_settled_fields(one, folder)) for name, one in tuning.estimators.items()}
    return tuning.replace(**_settled_fields(tuning, folder), estimators=several)


def _settled_fields(holder: Tuning | TrainingDefinition, folder: Path) -> dict[str, Any]:
    def full(path: str) -> str:
        return path if "://" in path else str((folder / Path(path).expanduser()).absolute())

    fields: dict[str, Any] = {}
    if holder.inputs:
        fields["inputs"] = {
            name: channel.replace(uri=full(channel.uri)) if isinstance(channel, Input) else channel
            for name, channel in holder.inputs.items()
        }
    old = holder.estimator
    if old is not None:
        path = "source_dir" if old.source_dir else "entry_point"
        paths = {path: full(getattr(old, path))} if old.is_script_mode else {}
        is_arn = (old.role or "").startswith("arn:")
        dependencies = tuple(map(full, old.dependencies))
        fields["estimator"] = old.replace(role=old.role if is_arn else None, dependencies=dependencies, **paths)
    return fields


def _advice(tuning: Tuning) -> Iterator[Finding]:
    """Good practice; sources are the Developer Guide's pages named in each."""
    total, parallel = tuning.max_jobs, tuning.max_parallel_jobs
    if tuning.strategy == "Bayesian" and total is not None and 1 < total <= parallel:
        # automatic-model-tuning-considerations: jobs at once do not learn from each other
        text = (
            f"all {total} training jobs run at once, so that a Bayesian search learns nothing: lower it, or use Random"
        )
        yield Finding("nothing-to-learn", "warning", "max_parallel_jobs", text)
    for name, definition in tuning.definitions:
        estimator = definition.estimator
        if estimator.use_spot_instances and not estimator.checkpoint_s3_uri:
            # model-managed-spot-training: an interrupted job without checkpoints starts from the beginning
            text = "a spot instance that is taken away loses its work: give checkpoint_s3_uri, and resume from it"
            yield Finding("spot-without-checkpoint", "warning", f"{_place(name)}estimator", text)
