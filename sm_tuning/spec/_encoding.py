"""The text of hyperparameters' values in requests, and back.

The API carries every value as text. There are two forms, by who reads them. The toolkit of the *framework* images
parses each value as JSON and keeps the text if that fails (aws/sagemaker-training-toolkit, mapping.py). So script mode
sends JSON for everything, as SDK v2 did, and nothing is lost. *Built-in algorithms* and custom images read plain text:
a string is sent unchanged, and only other types are written as JSON.
"""

from __future__ import annotations

import json
import math
from typing import Any


def encode_json(value: Any) -> str:
    """Return the text of a value for a framework image: JSON, strings with their quotes."""
    return json.dumps(value, ensure_ascii=False)


def encode_plain(value: Any) -> str:
    """Return the text of a value for a built-in algorithm or a custom image: strings unchanged, other types as JSON."""
    return value if isinstance(value, str) else encode_json(value)


def decode_json(text: str) -> Any:
    """Return the value of a text for a framework image; the text itself if it is not JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if _is_plain_json(value) else text


def decode_plain(text: str) -> Any:
    """Return the value of a text for a built-in algorithm or a custom image, if encoding it gives the same text."""
    value = decode_json(text)
    return value if encode_plain(value) == text else text


def decode_scalar(text: str, *, as_json: bool) -> str | bool | int | float:
    """Return the value of a categorical hyperparameter's text, the inverse of its encoder.

    Two values have the same text in a plain image: the text ``16`` and the number 16. It is read as the number. What
    no category can be, such as ``null`` or ``[1]``, stays text.

    Args:
        text: exactly as the API has it.
        as_json: whether the image's toolkit parses JSON (script mode).
    """
    value = decode_json(text)
    if isinstance(value, str):
        return value if as_json else text
    return value if isinstance(value, bool | int | float) and encode_json(value) == text else text


def _is_plain_json(value: Any) -> bool:
    """Return whether every reader understands a value's JSON: NaN and infinities are Python's extension of JSON."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | dict):
        return all(map(_is_plain_json, value.values() if isinstance(value, dict) else value))
    return True
