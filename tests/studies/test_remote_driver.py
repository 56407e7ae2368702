"""What a remote driver installs."""

from __future__ import annotations

import re
from importlib import metadata

import pytest

from sm_tuning.studies._remote import requirements

DECLARED = metadata.distribution("sm-tuning").requires or []
BASE = {"boto3", "botocore", "click", "numpy", "pandas", "pathspec", "pydantic", "pydantic-core", "pyyaml", "rich"}


@pytest.mark.parametrize(
    ("strategy", "further"),
    [
        ("Random", set()),
        ("Population", set()),
        ("Bayesian", {"scipy", "threadpoolctl"}),
        ("BayesianHyperband", {"scipy", "threadpoolctl"}),
        ("Optuna", {"optuna", "cmaes", "greenlet"}),
    ],
)
def test_a_driver_installs_the_base_and_what_its_strategy_needs(strategy: str, further: set[str]) -> None:
    found = requirements(DECLARED, strategy)

    assert {re.split(r"[^\w.-]", line)[0].lower() for line in found} == BASE | further
    assert all(">=" in line and "extra" not in line for line in found)


def test_conditions_of_the_platform_stay() -> None:
    assert requirements(['a>=1; python_version < "3.12"', "b; extra == 'local'"], "Random") == [
        'a>=1; python_version < "3.12"'
    ]
