"""Which values look like secrets, and how they are kept out of what is shown.

A name says it: a word of it is key, token, password, secret or the like. Hyperparameters and environment variables
of such a name are shown as ``****``, wherever they would come up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MASK = "****"

#: Words that make a name a secret's wherever they stand in it, and words that must stand alone ("monkey" is none).
_ANYWHERE = re.compile(r"password|passwd|passphrase|secret|credential|api_?key|access_?key|private_?key|auth_?token")
_ALONE = frozenset({"key", "token", "pwd", "pass"})
_ALONE_UNLESS_NUMBER = frozenset({"keys", "tokens"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")

#: So much of a secret at the start of a piece of text gives it away, even when the text was cut off after it.
_ENOUGH = 6

#: Where a text was cut short.
_CUT = re.compile(r"\.\.\.|…|\Z")


def is_secret(name: str, value: object = "") -> bool:
    """Whether a value of this name looks like a secret; ``max_tokens=512`` is a number, and none."""
    if isinstance(value, bool):
        return False
    words = {word.lower() for word in _WORD.findall(name)}
    if "kms" in words:  # names a key, and does not hold one
        return False
    if _ANYWHERE.search(name.lower().replace("-", "_")):
        return True
    if words & _ALONE:
        return True
    return bool(words & _ALONE_UNLESS_NUMBER) and _NUMBER.fullmatch(str(value)) is None


def masked(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with what looks like a secret replaced by ``****``."""
    return {name: MASK if is_secret(name, value) else value for name, value in values.items()}


def secrets_in(data: Any, name: str = "") -> Iterator[str]:
    """Every value, at any depth of plain data, whose name or that of something around it looks like a secret's."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from secrets_in(value, name if is_secret(name) else str(key))
    elif isinstance(data, list | tuple):
        for item in data:
            yield from secrets_in(item, name)
    elif data is not None and name and is_secret(name, data) and str(data) != "":
        yield str(data)


def secrets_of_job(description: Mapping[str, Any]) -> set[str]:
    """The same in what DescribeHyperParameterTuningJob tells: static and tuned hyperparameters, and environments."""
    definitions = [description.get("TrainingJobDefinition", {}), *description.get("TrainingJobDefinitions", ())]
    parts = [one.get(member, {}) for one in definitions for member in ("StaticHyperParameters", "Environment")]
    parts.append(description.get("BestTrainingJob", {}).get("TunedHyperParameters", {}))
    found = {secret for part in parts for secret in secrets_in(part)}
    return found | {secret.strip('"') for secret in found if secret.strip('"')}


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text with each secret replaced by ``****``: as it is, as Python or JSON writes it, and when cut short."""
    forms = {form for secret in secrets for form in _forms(secret) if form}
    for form in sorted(forms, key=len, reverse=True):
        text = _without(text, form)
    return text


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
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
