"""Everything that can be known before a launch, in one list."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from sm_tuning._errors import SpecError
from sm_tuning._masking import secrets_in
from sm_tuning._prices import Prices, read_prices
from sm_tuning.aws import Aws, find_prices
from sm_tuning.preflight._advice import advice
from sm_tuning.preflight._cost import cost_bound, cost_problems
from sm_tuning.preflight._files import built, file_problems, image_problems, settled
from sm_tuning.preflight._finding import Finding, ordered
from sm_tuning.preflight._quotas import quota_problems
from sm_tuning.preflight._raw import unreadable
from sm_tuning.preflight._remote import not_checked, remote_problems
from sm_tuning.preflight._rules import request_problems, rule_problems
from sm_tuning.spec import Tuning, load, to_data

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
    """Look for what would make a tuning job fail, or waste what it costs.

    Without ``aws`` nobody is asked, and what only AWS knows is listed as ``not-checked``.

    Args:
        tuning: a spec, or the path of a spec file; one that breaks a rule gives findings too.
        aws: a connection, to look at the role, the data, the bucket, the quotas and the warm start's parents as well.
        prices: dollars an hour by instance type, or a file of them; ``SM_TUNING_PRICES`` names one when left out, and
            without that a connection to AWS asks the Price List.
        max_cost: refuses, in dollars, what may cost more.
        name: the name that the job is to have.
        base_dir: the folder that relative paths start from; the working directory when left out.
        region: whose container images are looked up; that of ``aws`` when left out, else us-east-1.

    Returns:
        Errors first, then advice, then what was not checked; no error when the launch can go ahead.

    Raises:
        SpecError: the prices cannot be read.
        ServiceError: AWS could not be reached, or does not know the credentials.
    """
    if not isinstance(tuning, Tuning):
        file = Path(tuning)
        try:
            tuning = load(file)
        except SpecError as error:
            return unreadable(error, file)
    known = prices_for(aws if max_cost is not None else None, prices)
    place = region or (aws.region if aws is not None else _REGION)
    given = tuning
    tuning = settled(tuning, Path(base_dir) if base_dir is not None else Path())
    found = [*_offline(tuning, place, name), *cost_problems(cost_bound(tuning, known), max_cost)]
    asked = remote_problems(given, aws, name) if aws is not None else not_checked(given, name)
    return ordered([*found, *asked], secrets_in(to_data(given)))


def prices_for(aws: Aws | None, given: Prices) -> Mapping[str, float]:
    """Dollars an hour by instance type, as far as they are known.

    Raises:
        SpecError: the given prices cannot be read.
    """
    return read_prices(given) if aws is None else find_prices(aws, given).by_type


def _offline(tuning: Tuning, region: str, name: str | None) -> Iterator[Finding]:
    images = image_problems(tuning, region)
    files = file_problems(tuning)
    yield from files
    yield from images
    if not files and not images:
        request, problems = built(tuning, region, name)
        yield from problems
        if request:
            yield from request_problems(request)
    yield from rule_problems(tuning)
    yield from quota_problems(tuning)
    yield from advice(tuning)
