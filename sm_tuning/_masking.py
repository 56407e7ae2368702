"""Masking of values with secret-like names.

A name is secret-like if it contains key, token, password, secret or a similar word. Hyperparameters and environment
variables with such a name are shown as ``****``, and so is every occurrence of their values in texts such as log lines.
Names from machine learning (``max_tokens``, ``token_dropout``, ``key_dim``, ``pad_token``) are not secret-like.

All output goes through this module: findings, errors, frames of logs and failures, summaries, reports, exports. Values
that a program needs are not masked: the request, ``describe()``, ``spec()`` and its file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

MASK = "****"

#: Parts that make a name secret-like at any position and with any value.
_ALWAYS = re.compile(
    r"password|passwd|passphrase|passcode|secret|credential|(api|access|private|encryption|signing|ssh|account|license)_?key"
    r"|(auth|access|session|refresh|bearer|api|hf|hub|github|gitlab|security|sas)_?token"
)
#: Words that make a name secret-like only as whole words (not in "monkey" or "tokenizer"), unless another word of the
#: name is in _EXPLAINED.
_PERHAPS = frozenset({"key", "keys", "token", "tokens", "pwd", "pass", "jwt"})
#: Words that exclude a secret: sizes, rates, and the keys and tokens of models and of tables.
_EXPLANATIONS = """
max min num number n count counts total per limit budget length len size width dim dims depth capacity ratio rate
fraction percent pct prob probability threshold penalty weight weights bias scale factor multiplier temperature
dropout drop decay lr loss init initializer activation norm normalization noise smoothing k top
pad padding eos bos unk cls sep mask masked masking special vocab vocabulary prompt sequence seq
head heads query embed embedding embeddings emb attention attn proj projection layer layers mixer mixing pooling
merging shift level type types strategy mode order sampling stride window overlap chunk batch replacement
deletion insertion swap pruning routing expert experts
sort partition foreign group label labels feature features target image column columns prng rng seed
through filter high low band
"""
_EXPLAINED = frozenset(_EXPLANATIONS.split())
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")

#: A whole number with at least this number of digits, for a name such as ``hub_key``, is a secret and not a setting.
_LONG_NUMBER = 8

#: Values that state whether there is a secret, and so are not secrets.
_NOTHING = frozenset({"true", "false", "none", "null", "yes", "no"})

#: Shorter secrets are not searched in texts, because they occur in too many words.
SHORTEST = 4

#: A text that was cut off after this number of a secret's characters is masked too. A shorter secret is masked only
#: as a whole word.
_ENOUGH = 6

#: The end of a text that was cut off.
_CUT = re.compile(r"\.\.\.|…|\Z")


def is_secret(name: str, value: object = "") -> bool:
    """Return whether a value is a secret, by its name; ``max_tokens=512`` and the ARN of a secret are not."""
    words, always = _parts(name)
    if not always and (not words & _PERHAPS or words & _EXPLAINED):
        return False
    text = str(value).strip("\"' ")
    if isinstance(value, bool) or text.lower() in _NOTHING or text.startswith("arn:aws"):
        return False
    if "kms" in words:  # the identifier of a key, not the key
        return False
    number = _NUMBER.fullmatch(text)
    if number and words & _EXPLAINED:
        return False
    if always:
        return True
    return not number or (text.isdecimal() and len(text) >= _LONG_NUMBER) or words <= {"key", "token", "pwd", "pass"}


@lru_cache(maxsize=1024)  # thousands of trials have the same few names
def _parts(name: str) -> tuple[frozenset[str], bool]:
    """Return the words of a name, and whether the name alone says that its value is a secret."""
    words = frozenset(word.lower() for word in _WORD.findall(name))
    return words, _ALWAYS.search(name.lower().replace("-", "_")) is not None


def masked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy with secrets replaced by ``****``."""
    return {name: MASK if is_secret(name, value) else value for name, value in values.items()}


def without_secrets(data: Any, name: str = "") -> Any:
    """Return a copy of nested data with secrets, by their own name or that of an enclosing member, as ``****``."""
    if isinstance(data, Mapping):
        return {key: without_secrets(value, name if is_secret(name) else str(key)) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_secrets(item, name) for item in data]
    return MASK if data is not None and name and is_secret(name, data) else data


def secrets_in(data: Any, name: str = "") -> Iterator[str]:
    """Yield every secret of nested data, by its own name or that of an enclosing member."""
    return (value for _, value in named_secrets(data, name))


def named_secrets(data: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every secret of nested data with its name."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from named_secrets(value, name if is_secret(name) else str(key))
    elif isinstance(data, list | tuple):
        for item in data:
            yield from named_secrets(item, name)
    elif data is not None and name and is_secret(name, data) and str(data) != "":
        yield name, str(data)


def secrets_of_job(description: Mapping[str, Any]) -> set[str]:
    """Return the secrets in a description or request of a job: hyperparameters and environment variables."""
    definitions = [
        description.get("TrainingJobDefinition") or {},
        *(description.get("TrainingJobDefinitions") or ()),
    ]
    members = ("StaticHyperParameters", "HyperParameters", "Environment")
    parts = [part.get(member) or {} for part in (description, *definitions) for member in members]
    parts.append((description.get("BestTrainingJob") or {}).get("TunedHyperParameters", {}))
    ranges = [description.get("HyperParameterTuningJobConfig", {}).get("ParameterRanges") or {}]
    ranges += [definition.get("HyperParameterRanges") or {} for definition in definitions]
    choices = [choice for kinds in ranges for choice in kinds.get("CategoricalParameterRanges") or ()]
    parts += [{choice["Name"]: choice.get("Values", [])} for choice in choices]
    secrets = {secret for part in parts for secret in secrets_in(part)}
    # Framework images get values as JSON, and scripts print them without the quotes.
    return secrets | {bare for secret in secrets if (bare := secret.strip('"'))}


class Redactor:
    """Masks secrets in texts: verbatim, as written by Python, JSON or a URL, and where a text was cut off.

    Args:
        secrets: the values.
        shortest: length below which a secret is not masked.
    """

    def __init__(self, secrets: Iterable[str], *, shortest: int = SHORTEST) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= shortest}
        self._forms = sorted(forms, key=len, reverse=True)
        starts = sorted({form[:_ENOUGH] for form in self._forms})
        self._hint = re.compile("|".join(map(re.escape, starts))) if starts else None

    def __call__(self, text: str) -> str:
        """Return the text with each secret as ``****``."""
        if self._hint is not None and self._hint.search(text):
            for form in self._forms:
                text = _without(text, form)
        return text

    def each(self, texts: Sequence[Any]) -> list[Any]:
        """Return the texts with secrets masked; values that are not strings are returned unchanged."""
        if self._hint is None:
            return list(texts)
        return [self(text) if isinstance(text, str) else text for text in texts]

    def __bool__(self) -> bool:
        return self._hint is not None


def redacted(text: str, secrets: Iterable[str], *, shortest: int = SHORTEST) -> str:
    """Return the text with each secret replaced by ``****``; see ``Redactor``."""
    return Redactor(secrets, shortest=shortest)(text)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    escaped = json.dumps(secret)[1:-1]
    yield escaped
    yield json.dumps(escaped)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield secret.replace("\t", "#011")  # CloudWatch Logs shows tabs like this
    yield quote(secret, safe="", errors="replace")
    yield from (line for line in secret.splitlines() if len(line) >= _ENOUGH)


def _without(text: str, secret: str) -> str:
    """Mask one secret in a text; a short one only as a whole word."""
    if len(secret) < _ENOUGH:
        return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    text = text.replace(secret, MASK)
    start, parts, rest = secret[:_ENOUGH], [], text
    while (at := rest.find(start)) >= 0:
        end = at + _ENOUGH
        while end < len(rest) and end - at < len(secret) and rest[end] == secret[end - at]:
            end += 1
        parts += [rest[:at], MASK if _CUT.match(rest, end) else rest[at:end]]
        rest = rest[end:]
    return "".join([*parts, rest])
