"""Which values look like secrets, and how they are kept out of what is shown.

A name says it: a word of it is key, token, password, secret or the like. Hyperparameters and environment variables
of such a name are shown as ``****``, and so is their value wherever it comes up in a text, such as a log line. Words
of machine learning (``max_tokens``, ``token_dropout``, ``key_dim``, ``pad_token``) name no secrets.

Everything that shows values asks this module: findings, errors, frames of logs and failures, summaries, reports,
exports. What a program needs stays as it is: the request, ``describe()``, ``spec()`` and its file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard
from urllib.parse import quote

MASK = "****"

#: What makes a name a secret's wherever it stands in it, whatever the value.
_ALWAYS = re.compile(
    r"password|passwd|passphrase|passcode|secret|credential|(api|access|private|encryption|signing|ssh|account|license)_?key"
    r"|(auth|access|session|refresh|bearer|api|hf|hub|github|gitlab|security|sas)_?token"
)
#: Words that must stand alone in a name ("monkey" and "tokenizer" are none) and that other words may explain.
_PERHAPS = frozenset({"key", "keys", "token", "tokens", "pwd", "pass", "jwt"})
#: Words that explain them: sizes, rates, and the keys and tokens of models and of tables.
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

#: A whole number of so many digits behind a name such as ``hub_key`` is rather a secret than a setting.
_LONG_NUMBER = 8

#: Texts that say that there is, or is not, a secret, and so hold none.
_NOTHING = frozenset({"true", "false", "none", "null", "yes", "no"})

#: A shorter secret is not looked for in texts, of which it would leave little.
SHORTEST = 4

#: So much of a secret at the start of a piece of text gives it away, even when the text was cut off after it. A
#: shorter secret counts only where it is a word of its own.
_ENOUGH = 6

#: Where a text was cut short.
_CUT = re.compile(r"\.\.\.|…|\Z")


def is_secret(name: str, value: object = "") -> bool:
    """Whether a value of this name looks like a secret; ``max_tokens=512`` does not, nor does an ARN that names one."""
    text = str(value).strip("\"' ")
    if isinstance(value, bool) or text.lower() in _NOTHING or text.startswith("arn:aws"):
        return False
    words = {word.lower() for word in _WORD.findall(name)}
    if "kms" in words:  # names a key, and does not hold one
        return False
    number = _NUMBER.fullmatch(text)
    if number and words & _EXPLAINED:
        return False
    if _ALWAYS.search(name.lower().replace("-", "_")):
        return True
    if not words & _PERHAPS or words & _EXPLAINED:
        return False
    return not number or (text.isdecimal() and len(text) >= _LONG_NUMBER) or words <= {"key", "token", "pwd", "pass"}


def masked(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with what looks like a secret replaced by ``****``."""
    return {name: MASK if is_secret(name, value) else value for name, value in values.items()}


def without_secrets(data: Any, name: str = "") -> Any:
    """Plain data with what looks like a secret by its name, or by that of something around it, as ``****``."""
    if isinstance(data, Mapping):
        return {key: without_secrets(value, name if is_secret(name) else str(key)) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_secrets(item, name) for item in data]
    return MASK if data is not None and name and is_secret(name, data) else data


def secrets_in(data: Any, name: str = "") -> Iterator[str]:
    """Every value, at any depth of plain data, whose name or that of something around it looks like a secret's."""
    return (value for _, value in named_secrets(data, name))


def named_secrets(data: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The same with the names, such as for saying which they are."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from named_secrets(value, name if is_secret(name) else str(key))
    elif isinstance(data, list | tuple):
        for item in data:
            yield from named_secrets(item, name)
    elif data is not None and name and is_secret(name, data) and str(data) != "":
        yield name, str(data)


def secrets_of_job(description: Mapping[str, Any]) -> set[str]:
    """Those of a tuning job's or a training job's description or request: hyperparameters and environments."""
    definitions = [
        description.get("TrainingJobDefinition") or {},
        *(description.get("TrainingJobDefinitions") or ()),
    ]
    members = ("StaticHyperParameters", "HyperParameters", "Environment")
    parts = [one.get(member) or {} for one in (description, *definitions) for member in members]
    parts.append((description.get("BestTrainingJob") or {}).get("TunedHyperParameters", {}))
    ranges = [description.get("HyperParameterTuningJobConfig", {}).get("ParameterRanges") or {}]
    ranges += [one.get("HyperParameterRanges") or {} for one in definitions]
    choices = [choice for one in ranges for choice in one.get("CategoricalParameterRanges") or ()]
    parts += [{choice["Name"]: choice.get("Values", [])} for choice in choices]
    found = {secret for part in parts for secret in secrets_in(part)}
    return found | {bare for secret in found if (bare := secret.strip('"'))}  # framework images have them quoted


class Redactor:
    """Cuts secrets out of texts: as they are, as Python, JSON or a URL writes them, and where the text was cut short.

    Args:
        secrets: the values.
        shortest: shorter ones are left.
    """

    def __init__(self, secrets: Iterable[str], *, shortest: int = SHORTEST) -> None:
        found = {form for secret in secrets for form in _forms(secret) if len(form) >= shortest}
        self._forms = sorted(found, key=len, reverse=True)
        starts = sorted({form[:_ENOUGH] for form in self._forms})
        self._hint = re.compile("|".join(map(re.escape, starts))) if starts else None

    def __call__(self, text: str) -> str:
        """The text with each secret as ``****``."""
        if self._hint is not None and self._hint.search(text):
            for form in self._forms:
                text = _without(text, form)
        return text

    def each(self, texts: Sequence[Any]) -> list[Any]:
        """Each text of these; what is none, such as a missing value, stays as it is."""
        return list(texts) if self._hint is None else [self(one) if _is_text(one) else one for one in texts]

    def __bool__(self) -> bool:
        return self._hint is not None


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


def redacted(text: str, secrets: Iterable[str], *, shortest: int = SHORTEST) -> str:
    """The text with each secret replaced by ``****``; see ``Redactor``."""
    return Redactor(secrets, shortest=shortest)(text)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    escaped = json.dumps(secret)[1:-1]
    yield escaped
    yield json.dumps(escaped)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield secret.replace("\t", "#011")  # as CloudWatch has it
    yield quote(secret, safe="", errors="replace")
    yield from (line for line in secret.splitlines() if len(line) >= _ENOUGH)


def _without(text: str, secret: str) -> str:
    """Cut a secret out. A short one counts only where it is a word of its own, not inside another word."""
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
