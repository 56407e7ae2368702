"""Secrets stay out of findings, summaries and status."""

from __future__ import annotations

import json

import _preflight_specs as specs
import pytest
from _preflight_specs import changed, script
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import sm_tuning as smt
from sm_tuning._masking import MASK, is_secret, masked, redacted, secrets_in, secrets_of_job
from sm_tuning.cli import main

SECRET = "hunter2-very-secret"


@pytest.mark.parametrize(
    "name",
    [
        "API_KEY",
        "apikey",
        "auth-token",
        "hf_token",
        "DB_PASSWORD",
        "dbpassword",
        "clientSecret",
        "AWS_SECRET_ACCESS_KEY",
    ],
)
def test_a_name_tells_a_secret(name) -> None:
    assert is_secret(name, "x")
    assert masked({name: "x", "lr": 0.1}) == {name: MASK, "lr": 0.1}


@pytest.mark.parametrize(
    ("name", "value"),
    [("monkey", "x"), ("tokenizer", "bpe"), ("max_tokens", 512), ("max_tokens", "512"), ("output_kms_key", "arn:x")],
)
def test_other_names_do_not(name, value) -> None:
    assert not is_secret(name, value)


@given(secret=st.text(min_size=6, max_size=300), before=st.text(max_size=20), cut=st.integers(0, 300))
def test_a_secret_is_cut_out_of_any_text_whole_quoted_or_cut_short(secret, before, cut) -> None:
    for form in (secret, repr(secret), json.dumps(secret)):
        assert form not in redacted(f"{before}{form}!", [secret]).replace(before, "")
    start = secret[: max(6, min(cut, len(secret)))]
    assert MASK in redacted(f"{before}|{start}…", [secret])


def test_a_short_secret_leaves_other_words_alone() -> None:
    assert redacted("the cat concatenates, cat!", ["cat"]) == f"the {MASK} concatenates, {MASK}!"


def test_secrets_are_found_at_any_depth() -> None:
    data = {"a": [{"api_key": "k1"}], "secrets": {"one": "s1"}, "plain": "x"}
    assert sorted(secrets_in(data)) == ["k1", "s1"]


def test_what_a_job_holds_is_known_as_it_is_on_the_wire() -> None:
    job = {"TrainingJobDefinition": {"StaticHyperParameters": {"token": '"abc"'}, "Environment": {"API_KEY": "def"}}}
    assert {"abc", "def"} <= secrets_of_job(job)


BROKEN = {
    "value too long for the service": {"estimator/environment": {"API_KEY": SECRET * 100}},
    "a number for text": {"estimator/environment": {"API_KEY": 73519274610}},
    "unknown field beside it": {"estimator/environment": {"API_KEY": SECRET}, "max_job": 1},
    "a list for a map": {"estimator/environment": [{"API_KEY": SECRET}]},
    "static and tuned": {"estimator/hyperparameters": {"lr": 1, "auth_token": SECRET}},
    "hyperparameter too long": {"estimator/hyperparameters": {"auth_token": SECRET * 200}},
}


@pytest.mark.parametrize("command", ["check", "check --json"])
@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN)
def test_no_finding_shows_a_secret(tmp_path, changes, command) -> None:
    path = specs.write(tmp_path, changed(script(), changes))
    name, *options = command.split()
    result = CliRunner().invoke(main, [name, str(path), *options])
    assert result.exit_code == 2
    assert SECRET[:12] not in result.output
    assert "73519274610" not in result.output


def test_a_secret_of_the_environment_is_masked_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MY_SETTING", SECRET)
    data = changed(script(), {"estimator/environment": [{"API_KEY": "${MY_SETTING}"}]})
    assert SECRET not in " ".join(map(str, smt.check(specs.write(tmp_path, data))))
