"""What all spec classes share: they are frozen, reject unknown keys, and report problems in our own words."""

from __future__ import annotations

import decimal
import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from sm_tuning._errors import Problem, SpecError, did_you_mean
from sm_tuning._masking import Redactor, is_secret, secrets_in, without_secrets
from sm_tuning._printable import html_table

#: The tags of unions start with this, so that they can be removed from the place that pydantic reports.
TAG = "#"

#: Unknown keys of one mapping that are named, each with a similar key.
_MOST_MESSAGES = 20

#: Set in the context of a validation whose values come from plain data, such as a file.
IS_DATA = "is_data"

#: What to do about a boolean in place of text; a shell takes away one kind of quotes.
QUOTE_TEXT = """YAML reads yes, no, on and off as booleans: put text in quotes, in a shell as --set 'NAME="yes"'"""

#: pydantic adds this to the place of an error in a key, to tell it from an error in the key's value.
_KEY = "[key]"


def to_python(value: Any) -> Any:
    """Return a value as plain Python has it, at every depth.

    Scalars and arrays of NumPy and pandas become numbers, booleans, text and lists; a ``Decimal`` becomes a whole
    number if it has no decimal places, else a float; paths and text enums become text. Other values are unchanged.
    """
    # Left to pydantic, a NumPy integer in a union of types becomes a float: 16 would reach the script as 16.0.
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return value
    if isinstance(value, decimal.Decimal):
        places = value.as_tuple().exponent
        return int(value) if isinstance(places, int) and 0 <= places < 1000 else float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [to_python(item) for item in value]
    return {to_python(key): to_python(item) for key, item in value.items()} if isinstance(value, dict) else value


def shortened(value: Any, most: int = 300) -> str:
    """Return the repr of a value, cut off if it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


def unknown_key(key: str, known: set[str]) -> str:
    """Return the message about a key that does not exist, with the most similar key that does."""
    return f"unknown key {key!r}; {did_you_mean(key, known, kind='known keys')}"


class Spec(BaseModel):
    """Base of the spec classes: frozen, and valid once built.

    Raises:
        SpecError: if a value breaks a rule; one problem for each rule, with its place.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, validate_default=True, allow_inf_nan=False
    )

    #: Codes of the limits that pydantic checks, by field. ``_code`` is that of all other fields.
    _field_codes: ClassVar[Mapping[str, str]] = {}
    _code: ClassVar[str] = ""

    #: Keys that belong elsewhere, and what to do with them.
    _elsewhere: ClassVar[Mapping[str, str]] = {}

    #: Fields that convert their values to text themselves.
    _text_fields: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, /, **data: Any) -> None:
        try:
            self.__pydantic_validator__.validate_python(data, self_instance=self)
        except ValidationError as error:
            raise self._error(error, data) from None

    # Tells pydantic that nested dicts need not pass through __init__: their errors then keep their place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    # Each class turns the errors in its own fields into problems. Further up, a field looks like a key that the user
    # chose (a hyperparameter called "tags"): pydantic reports both as plain names.
    @model_validator(mode="wrap")
    @classmethod
    def _with_codes(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        unknown: list[Problem] = []
        if isinstance(data, Mapping):
            known = set(cls.model_fields) | {f.alias for f in cls.model_fields.values() if f.alias}
            # Values are judged without the unknown keys, which would hide what else is wrong.
            unknown = cls._unknown_keys([str(key) for key in data if key not in known], known)
            given = {key: value for key, value in data.items() if key in known}
            data = {key: value if key in cls._text_fields else to_python(value) for key, value in given.items()}
            if info.context and info.context.get(IS_DATA):
                # YAML reads Off as false, which has no other meaning where Off is one of the words.
                words = {key for key, field in cls.model_fields.items() if "Off" in get_args(field.annotation)}
                data |= {key: "Off" for key in words if data.get(key) is False}
        try:
            made = handler(data)
        except ValidationError as error:
            raise SpecError([*unknown, *cls._problems(error, is_misspelled=bool(unknown))]) from None
        if unknown:
            raise SpecError(unknown)
        return made

    @classmethod
    def _unknown_keys(cls, keys: list[str], known: set[str]) -> list[Problem]:
        messages = [
            f"unknown key {key!r}: {cls._elsewhere[key]}" if key in cls._elsewhere else unknown_key(key, known)
            for key in keys[:_MOST_MESSAGES]
        ]
        if len(keys) > _MOST_MESSAGES:
            messages.append(f"{len(keys) - _MOST_MESSAGES} more unknown keys")
        fix = "correct the name, or take the key out: a tuning job has no such setting"
        return [Problem("unknown-key", "", message, fix) for message in messages]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).model_fields:
            change = f"{self._noun}.replace({name}={shortened(value, 60)})"
            raise SpecError(f"{type(self).__name__} is frozen: build a changed copy with {change}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in type(self).model_fields:
            raise SpecError(f"{type(self).__name__} is frozen: build a changed copy with {self._noun}.replace(…)")
        super().__delattr__(name)

    @property
    def _noun(self) -> str:
        """A variable name for examples, such as ``estimator``."""
        words: list[str] = re.findall("[A-Z][a-z]+", type(self).__name__)
        return words[-1].lower()

    @classmethod
    def _problems(cls, error: ValidationError, *, is_misspelled: bool = False) -> list[Problem]:
        """Return pydantic's errors as problems, each with its place in this class.

        With ``is_misspelled``, a key is unknown: what lacks a field, or compares fields, may only be a consequence.
        """
        found: list[Problem] = []
        for detail in error.errors(include_url=False):
            if is_misspelled and (not detail["loc"] or detail["type"] == "missing"):
                continue
            parts = [str(part) for part in detail["loc"] if part != _KEY]
            where = ".".join(part for part in parts if not part.startswith(TAG))
            context = detail.get("ctx", {})
            cause = context.get("error")
            if isinstance(cause, SpecError):
                found += [problem.below(where) for problem in cause.details]
                continue
            if detail["type"] == "missing":
                message = "is required"
            else:
                masked = any(is_secret(part, detail["input"]) for part in parts)
                value = (
                    "its value, which looks like a secret, is not" if masked else f"got {shortened(detail['input'])}"
                )
                message = f"{detail['msg'][0].lower()}{detail['msg'][1:]}, but {value}"
                if isinstance(detail["input"], bool) and detail["type"] in ("literal_error", "string_type"):
                    message += f"; {QUOTE_TEXT}"
                elif isinstance(detail["input"], int | float) and detail["type"] == "string_type":
                    message += """; put it in quotes, in a shell as --set 'NAME="2.10"'"""
            code = context.get("code") or cls._field_codes.get(parts[0] if parts else "", cls._code)
            found.append(Problem(code, where, message, context.get("fix", "")))
        return found

    @classmethod
    def _error(cls, error: ValidationError, data: Any, source: str = "") -> SpecError:
        """Return the error to raise, with the secrets of the data masked."""
        clear = Redactor(secrets_in(data), shortest=1)
        problems = [
            Problem(problem.code, clear(problem.where), clear(problem.message), clear(problem.fix))
            for problem in cls._problems(error)
        ]
        return SpecError(problems, source=source)

    @classmethod
    def parse(cls, data: Any, *, where: str = "") -> Self:
        """Build a spec from plain data, such as a parsed YAML file.

        Args:
            data: a mapping of field names to values.
            where: put in front of each problem, such as the file's name.

        Raises:
            SpecError: if a value breaks a rule.
        """
        try:
            return cls.model_validate(data, context={IS_DATA: True})
        except ValidationError as error:
            raise cls._error(error, data, where) from None

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Return the values that differ from their default, with secrets masked."""
        values = [(name, getattr(self, name), field) for name, field in type(self).model_fields.items()]
        return [
            (name, without_secrets(value) if isinstance(value, Mapping) else value)
            for name, value, field in values
            if value != field.get_default(call_default_factory=False)
        ]

    def _repr_html_(self) -> str:
        """Return the values that differ from their default as a table for a notebook's cell, with secrets masked."""

        def shown(value: Any) -> str:
            if isinstance(value, Mapping):
                return ", ".join(f"{key}: {shown(item)}" for key, item in value.items())
            return f"{value}" if isinstance(value, str) else shortened(value, 400)

        return html_table([(str(name), shown(value)) for name, value in self.__repr_args__()])

    def __dir__(self) -> list[str]:
        """Return the fields and our own methods: completion would list some forty methods of pydantic's."""
        own = {name for kind in type(self).__mro__ if issubclass(kind, Spec) for name in vars(kind)}
        return sorted({*type(self).model_fields, *(name for name in own if name[0] != "_" and name[:6] != "model_")})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated again as a whole.

        Raises:
            SpecError: if the changed spec breaks a rule.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **changes})
