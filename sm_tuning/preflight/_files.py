"""What a spec names on this machine, and the request that it makes: no credentials, no call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning.preflight._finding import Finding, place
from sm_tuning.request import image_uri, stage, to_request
from sm_tuning.spec import Input, TrainingDefinition, Tuning

#: Stand for what is found at launch; they have the right form and name nothing that exists.
_ROLE = "arn:aws:iam::000000000000:role/found-at-launch"
_PREFIX = "s3://found-at-launch"
NAME = "named-at-launch"


def problems_of(error: SpecError, code: str = "spec") -> list[Finding]:
    """The findings that an error stands for, such as that of a file that is no spec.

    Args:
        error: what was raised.
        code: of findings that have none of their own.
    """
    return [
        Finding(problem.code or code, "error", problem.where, problem.message, problem.fix or _fix(problem.where))
        for problem in error.details
    ]


def _fix(where: str) -> str:
    return f"correct {where or 'the spec'}"


def file_problems(tuning: Tuning) -> list[Finding]:
    """What is wrong with the scripts and data that a tuning names on this machine."""
    try:
        stage(tuning, code_prefix=f"{_PREFIX}/code", data_prefix=f"{_PREFIX}/data")
    except SpecError as error:
        return problems_of(error)
    return []


def image_problems(tuning: Tuning, region: str) -> list[Finding]:
    """Estimators for which there is no container image in a region."""
    found: list[Finding] = []
    for name, definition in tuning.definitions:
        if getattr(definition.estimator, "algorithm_name", None) is not None:
            continue
        try:
            image_uri(definition.estimator, region)
        except SpecError as error:
            fix = "use a version that the message lists, another instance type or region, or give image_uri"
            found += [Finding("image", "error", place(name, "estimator"), text, fix) for text in error.problems]
    return found


def built(tuning: Tuning, region: str, name: str | None) -> tuple[dict[str, Any], list[Finding]]:
    """The request as far as it can be known, and what the service's model refuses in it.

    A spec with problems in its files or images has no request; it is empty then.
    """
    try:
        staged = stage(tuning, code_prefix=f"{_PREFIX}/code", data_prefix=f"{_PREFIX}/data")
        request = to_request(staged.tuning, name=name or NAME, region=region, role=_ROLE, output_path=_PREFIX)
    except SpecError as error:
        return {}, problems_of(error, "request")
    return request, []


def settled(tuning: Tuning, folder: Path) -> Tuning:
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
