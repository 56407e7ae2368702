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
from sm_tuning._masking import (
    MASK,
    is_secret,
    masked,
    named_secrets,
    redacted,
    secrets_in,
    secrets_of_job,
    without_secrets,
)
from sm_tuning.cli import main

SECRET = "hunter2-very-secret"


NAMES = """API_KEY apikey apiKey auth-token authToken hf_token HF_TOKEN DB_PASSWORD dbpassword clientSecret TOKEN key
AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SESSION_TOKEN WANDB_API_KEY GITHUB_TOKEN my-token deploy_key ssh_key pwd
encryption_key sas_token private_key_pem service_credentials jwt some.key registry_token"""

#: Hyperparameters of models and of their training, as their papers and libraries call them.
SETTINGS = """
max_tokens num_tokens token_dropout key_dim tokenizer tokenizer_name tokens_per_batch max_new_tokens key_size
n_keys num_keys key_length max_key_len pad_token_id eos_token bos_token unk_token mask_token special_tokens
token_type token_pooling token_mixer token_merging_ratio key_padding_mask query_key_norm query_key_value
prng_key rng_key sort_key label_key target_key image_key group_key high_pass low_pass_filter pass_through
num_passes monkey keyword hockey donkey turkey passes compass bypass_rate keypoints key_activation
attn_key_bias tokenization subtoken_prob keep_prob
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_a_name_tells_a_secret(name) -> None:
    assert is_secret(name, "x")
    assert is_secret(name, "73519274610")
    assert masked({name: "x", "lr": 0.1}) == {name: MASK, "lr": 0.1}


@pytest.mark.parametrize("name", SETTINGS.split())
@pytest.mark.parametrize("value", [512, "512", 0.1, "1e-05", '"512"', "relu", True, "true"])
def test_a_setting_of_a_model_is_none(name, value) -> None:
    assert not is_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("output_kms_key", "arn:x"),
        ("DB_SECRET_ARN", "arn:aws:secretsmanager:us-east-1:123456789012:secret:db"),
        ("use_auth_token", True),
        ("use_auth_token", "true"),
        ("my_token", 0.25),
        ("hub_keys", 3),
        ("password_length", 12),
    ],
)
def test_what_holds_no_secret_is_shown(name, value) -> None:
    assert not is_secret(name, value)
    assert without_secrets({name: value}) == {name: value}


@given(secret=st.text(min_size=6, max_size=300), before=st.text(max_size=20), cut=st.integers(0, 300))
def test_a_secret_is_cut_out_of_any_text_whole_quoted_or_cut_short(secret, before, cut) -> None:
    for form in (secret, repr(secret), json.dumps(secret)):
        assert form not in redacted(f"{before}{form}!", [secret]).replace(before, "")
    start = secret[: max(6, min(cut, len(secret)))]
    assert MASK in redacted(f"{before}|{start}…", [secret])


def test_a_short_secret_leaves_other_words_alone() -> None:
    assert redacted("the tome of epitomes, tome!", ["tome"]) == f"the {MASK} of epitomes, {MASK}!"


def test_a_secret_of_three_letters_is_not_looked_for_in_a_log() -> None:
    assert redacted("the cat", ["cat"]) == "the cat"
    assert redacted("the cat", ["cat"], shortest=1) == f"the {MASK}"


def test_secrets_are_found_at_any_depth() -> None:
    data = {"a": [{"api_key": "k1"}], "secrets": {"one": "s1"}, "plain": "x"}
    assert sorted(secrets_in(data)) == ["k1", "s1"]
    assert dict(named_secrets(data)) == {"api_key": "k1", "secrets": "s1"}
    assert without_secrets(data) == {"a": [{"api_key": MASK}], "secrets": {"one": MASK}, "plain": "x"}


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
