"""Hyperparameter values on the wire are strings; how values become strings, and back.

Two forms, by who reads them. The *framework* images' toolkit parses each value as JSON and keeps the text when
that fails (aws/sagemaker-training-toolkit, mapping.py), so script mode sends JSON for everything, as SDK v2 did:
nothing is lost. *Built-in algorithms* and custom images read plain text, so a string is sent as it is and only
other types are written as JSON.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from typing import Any

from sm_tuning._errors import Problem, SpecError


def encode_json(value: Any) -> str:
    """A value as the framework images' toolkit expects it: JSON, strings with their quotes."""
    return json.dumps(value, ensure_ascii=False)


def encode_plain(value: Any) -> str:
    """A value as built-in algorithms and custom images expect it: text as it is, other types as JSON."""
    return value if isinstance(value, str) else encode_json(value)


def decode_json(text: str) -> Any:
    """The value of a string that a framework job was given; the text itself when it is not JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if is_plain_json(value) else text


def decode_plain(text: str) -> Any:
    """The value of a string that a built-in or custom image was given, if writing it gives the same string."""
    value = decode_json(text)
    return value if encode_plain(value) == text else text


def is_plain_json(value: Any) -> bool:
    """Whether a value has a JSON form that every reader understands: no nan, no infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list):
        return all(is_plain_json(item) for item in value)
    if isinstance(value, dict):
        return all(is_plain_json(item) for item in value.values())
    return True


def plain_value(name: str, value: Any) -> Any:
    """A static hyperparameter's value as JSON has it: numbers of NumPy and text of enums become plain ones.

    Raises:
        SpecError: for nan and infinity, and for what JSON cannot hold.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [plain_value(name, item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str.__str__(key): plain_value(name, item) for key, item in value.items()}
    message = f"hyperparameter {name!r} must be a finite number, text, or JSON, but got {value!r}"
    raise SpecError(Problem("hyperparameter-value", "", message, "give a value that JSON can hold"))
