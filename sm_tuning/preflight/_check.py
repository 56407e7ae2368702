"""Everything that can be known before a launch, in one list."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sm_tuning._errors import SpecError
from sm_tuning._masking import secrets_in
from sm_tuning._prices import Prices, read_prices
from sm_tuning.aws import Aws, find_prices
from sm_tuning.description import job_of
from sm_tuning.preflight._advice import advice, study_advice
from sm_tuning.preflight._finding import Finding, findings_of, in_order, place, unreadable
from sm_tuning.preflight._remote import not_checked, remote_problems
from sm_tuning.preflight._rules import (
    cost_bound,
    cost_problems,
    partition_problems,
    quota_problems,
    request_problems,
    rule_problems,
)
from sm_tuning.preflight._script import script_problems, source_problems
from sm_tuning.request import image_uri, stage, to_request
from sm_tuning.spec import Input, TrainingDefinition, Tuning, load, to_data

#: Stand for values that are only known at launch. They have the right form and name nothing that exists.
_ROLE = "arn:aws:iam::000000000000:role/found-at-launch"
_PREFIX = "s3://found-at-launch"
_NAME = "named-at-launch"
_REGION = "us-east-1"


def check(
    tuning: Tuning | str | os.PathLike[str],
    *,
    aws: Aws | None = None,
    prices: Prices = None,
    max_cost: float | None = None,
    name: str | None = None,
    base_dir: str | Path | None = None,
    region: str | None = None,
) -> list[Finding]:
    """Return what would make a tuning job fail, or waste money.

    Without ``aws`` no API call is made, and what only AWS can tell is listed as ``not-checked``.

    Args:
        tuning: a spec, or the path of a spec file; one that breaks a rule gives findings too.
        aws: a connection, to check the role, the data, the bucket, the quotas and the warm start's parents as well.
        prices: dollars an hour by instance type, or a file of them; by default the file that ``SM_TUNING_PRICES``
            names, and without that the Price List, if there is a connection to AWS.
        max_cost: the most that the job may cost, in dollars.
        name: the name of the job, if known.
        base_dir: the folder that relative paths start from; the working directory by default.
        region: whose container images are looked up, and to whose partition roles and keys must belong; that of
            ``aws`` by default. Without either, images are looked up in us-east-1.

    Returns:
        Errors first, then advice, then what was not checked; no error if the launch can go ahead.

    Raises:
        SpecError: if the prices cannot be read.
        ServiceError: if AWS cannot be reached, or the credentials are invalid.
    """
    if not isinstance(tuning, Tuning):
        file = Path(tuning)
        try:
            tuning = load(file)
        except SpecError as error:
            return unreadable(error, file)
    is_priced = max_cost is not None or (tuning.study is not None and tuning.study.max_cost is not None)
    known = prices_for(aws if is_priced else None, prices)
    region = region or (aws.region if aws is not None else None)
    local = settled(tuning, base_dir)
    found = [*_offline(local, region or _REGION, name), *cost_problems(cost_bound(local, known), max_cost)]
    found += study_advice(tuning, known)
    found += partition_problems(tuning, region) if region else []
    found += remote_problems(tuning, aws, name) if aws is not None else not_checked(tuning, name)
    return in_order(found, secrets_in(to_data(tuning)))


def prices_for(aws: Aws | None, given: Prices) -> Mapping[str, float]:
    """Return the known prices, in dollars an hour by instance type.

    Raises:
        SpecError: if the given prices cannot be read.
    """
    return read_prices(given) if aws is None else find_prices(aws, given).by_type


def settled(tuning: Tuning, base_dir: str | Path | None) -> Tuning:
    """Return the tuning with absolute paths, and without role names, which only AWS could resolve."""
    folder = Path(base_dir) if base_dir is not None else Path()

    def absolute(path: str) -> str:
        return path if "://" in path else str((folder / Path(path).expanduser()).absolute())

    def changes(holder: Tuning | TrainingDefinition) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if holder.inputs:
            fields["inputs"] = {
                name: channel.replace(uri=absolute(channel.uri)) if isinstance(channel, Input) else channel
                for name, channel in holder.inputs.items()
            }
        old = holder.estimator
        if old is not None:
            source = "source_dir" if old.source_dir else "entry_point"
            paths: dict[str, Any] = {source: absolute(getattr(old, source))} if old.is_script_mode else {}
            paths["dependencies"] = tuple(map(absolute, old.dependencies))
            fields["estimator"] = old.replace(role=old.role if (old.role or "").startswith("arn:") else None, **paths)
        return fields

    several = {name: definition.replace(**changes(definition)) for name, definition in tuning.estimators.items()}
    return tuning.replace(**changes(tuning), estimators=several)


def _offline(tuning: Tuning, region: str, name: str | None) -> Iterator[Finding]:
    """Yield what can be known on this machine: no credentials, no call."""
    staged, missing = None, list(_without_image(tuning, region))
    try:
        staged = stage(tuning, code_prefix=f"{_PREFIX}/code", data_prefix=f"{_PREFIX}/data")
    except SpecError as error:
        yield from findings_of(error)
    else:
        yield from source_problems(tuning)
    yield from missing
    if staged is not None and not missing:
        try:
            # The trials of a study are checked as those of a tuning job.
            plain, is_study = staged.tuning, staged.tuning.study is not None
            request = to_request(
                plain, name=name or _NAME, region=region, role=_ROLE, output_path=_PREFIX, is_study=is_study
            )
        except SpecError as error:
            yield from findings_of(error, "request")
        else:
            yield from request_problems(job_of(request))
    yield from rule_problems(tuning)
    yield from script_problems(tuning)
    yield from quota_problems(tuning)
    yield from advice(tuning)


def _without_image(tuning: Tuning, region: str) -> Iterator[Finding]:
    """Yield estimators for which there is no container image in a region."""
    for name, definition in tuning.definitions:
        if getattr(definition.estimator, "algorithm_name", None) is not None:
            continue
        try:
            image_uri(definition.estimator, region)
        except SpecError as error:
            fix = "use a version that the message lists, another instance type or region, or give image_uri"
            yield from (Finding("image", "error", place(name, "estimator"), text, fix) for text in error.problems)
