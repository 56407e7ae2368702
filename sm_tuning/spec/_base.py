"""What every spec class shares: frozen, strict about keys, and errors in our own words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, Self, TypeVar, final, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, core_schema

from sm_tuning._errors import SpecError
from sm_tuning._masking import is_secret, redacted, secrets_in, without_secrets

K = TypeVar("K")
V = TypeVar("V")

#: Union tags start with this, so that they can be left out of the place that an error names.
TAG = "#"

#: pydantic's place of a key, where that of a value has nothing.
_KEY = "[key]"


@final
class FrozenDict(dict[K, V]):
    """A dict that cannot be changed, so that a frozen spec is frozen all the way down.

    Raises:
        TypeError: on any attempt to change it.
    """

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a spec is frozen: build a changed one with .replace(…)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return FrozenDict, (dict(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler.generate_schema(dict.__class_getitem__(get_args(source)))
        return core_schema.no_info_after_validator_function(freeze, inner)


@final
class FrozenList(list[V]):
    """A list that cannot be changed: what a list inside a free-form value of a spec becomes.

    Raises:
        TypeError: on any attempt to change it.
    """

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a spec is frozen: build a changed one with .replace(…)")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse

    def __reduce__(self) -> tuple[type[FrozenList[V]], tuple[list[V]]]:
        return FrozenList, (list(self),)


def freeze(value: Any) -> Any:
    """Plain dicts, lists and tuples as frozen ones, at every depth; other values as they are."""
    if isinstance(value, dict):
        return FrozenDict({key: freeze(item) for key, item in value.items()})
    return FrozenList(freeze(item) for item in value) if isinstance(value, list | tuple) else value


class Spec(BaseModel):
    """Base of the spec classes: frozen, valid once built.

    Raises:
        SpecError: when a value breaks a rule; one sentence for each problem, with its place in front.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, validate_default=True, allow_inf_nan=False
    )

    def __init__(self, /, **data: Any) -> None:
        try:
            self.__pydantic_validator__.validate_python(data, self_instance=self)
        except ValidationError as error:
            raise SpecError(without(data, problems(error))) from None

    # Tells pydantic that nested dicts need not pass through __init__: their errors then keep their place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = set(cls.model_fields) | {f.alias for f in cls.model_fields.values() if f.alias}
            unknown = [unknown_key(str(key), known) for key in data if key not in known]
            if unknown:
                raise SpecError(unknown)
        return data

    @classmethod
    def parse(cls, data: Any, *, where: str = "") -> Self:
        """Build a spec from plain data, such as a parsed YAML file.

        Args:
            data: a mapping of field names to values.
            where: put in front of each problem, such as the file's name.

        Raises:
            SpecError: when a value breaks a rule.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            prefix = f"{where}: " if where else ""
            raise SpecError([prefix + problem for problem in without(data, problems(error))]) from None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Show what was given, secrets as ``****``; what is at its default would hide it."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value != field.get_default(call_default_factory=False):
                yield name, without_secrets(value) if isinstance(value, Mapping) else value

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked again as a whole.

        Raises:
            SpecError: when the changed spec breaks a rule.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **changes})


def without(data: Any, sentences: Iterable[str]) -> list[str]:
    """The sentences about this data, without the secrets in it."""
    secrets = tuple(secrets_in(data))
    return [redacted(sentence, secrets, shortest=1) for sentence in sentences]


def unknown_key(key: str, known: set[str]) -> str:
    """The sentence about a key that does not exist, naming the nearest one that does."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(sorted(known))}"
    return f"unknown key {key!r}; {hint}"


def problems(error: ValidationError) -> Iterator[str]:
    """Turn pydantic's errors into sentences, each with its place in the spec in front."""
    for detail in error.errors(include_url=False):
        where = ".".join(str(part) for part in detail["loc"] if not str(part).startswith(TAG) and part != _KEY)
        cause = detail.get("ctx", {}).get("error")
        sentences = cause.problems if isinstance(cause, SpecError) else [_sentence(dict(detail))]
        for sentence in sentences:
            yield f"{where}: {sentence}" if where else sentence


def _sentence(detail: dict[str, Any]) -> str:
    """One pydantic error in our words, with the value that caused it."""
    if detail["type"] == "missing":
        return "is required"
    if detail["type"] == "union_tag_invalid":
        return str(detail["msg"]).replace(TAG, "")
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    message = detail["msg"]
    if any(is_secret(str(part), detail["input"]) for part in detail["loc"] if part != _KEY):
        return f"{message[0].lower()}{message[1:]}, but its value, which looks like a secret, is not"
    return f"{message[0].lower()}{message[1:]}, but got {detail['input']!r}"
