"""Dicts and lists that cannot be changed; without pydantic, since all that reads jobs loads this module."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, final, get_args

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

K = TypeVar("K")
V = TypeVar("V")


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("a spec is frozen: build a changed one with .replace(…)")


@final
class FrozenDict(dict[K, V]):
    """A dict that cannot be changed, so that a frozen spec is frozen at every depth.

    Raises:
        TypeError: on any attempt to change it.
    """

    __setitem__: ClassVar[Callable[..., NoReturn]] = _refuse
    __delitem__: ClassVar[Callable[..., NoReturn]] = _refuse
    __ior__: ClassVar[Callable[..., NoReturn]] = _refuse
    clear: ClassVar[Callable[..., NoReturn]] = _refuse
    pop: ClassVar[Callable[..., NoReturn]] = _refuse
    popitem: ClassVar[Callable[..., NoReturn]] = _refuse
    setdefault: ClassVar[Callable[..., NoReturn]] = _refuse
    update: ClassVar[Callable[..., NoReturn]] = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return FrozenDict, (dict(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema  # noqa: PLC0415  (readers of jobs use this class without pydantic)

        inner = handler.generate_schema(dict.__class_getitem__(get_args(source)))
        return core_schema.no_info_after_validator_function(freeze, inner)


@final
class FrozenList(list[V]):
    """A list that cannot be changed. Lists inside free-form values of a spec become frozen lists.

    Raises:
        TypeError: on any attempt to change it.
    """

    __setitem__: ClassVar[Callable[..., NoReturn]] = _refuse
    __delitem__: ClassVar[Callable[..., NoReturn]] = _refuse
    __iadd__: ClassVar[Callable[..., NoReturn]] = _refuse
    __imul__: ClassVar[Callable[..., NoReturn]] = _refuse
    append: ClassVar[Callable[..., NoReturn]] = _refuse
    extend: ClassVar[Callable[..., NoReturn]] = _refuse
    insert: ClassVar[Callable[..., NoReturn]] = _refuse
    pop: ClassVar[Callable[..., NoReturn]] = _refuse
    remove: ClassVar[Callable[..., NoReturn]] = _refuse
    clear: ClassVar[Callable[..., NoReturn]] = _refuse
    sort: ClassVar[Callable[..., NoReturn]] = _refuse
    reverse: ClassVar[Callable[..., NoReturn]] = _refuse

    def __reduce__(self) -> tuple[type[FrozenList[V]], tuple[list[V]]]:
        return FrozenList, (list(self),)


def freeze(value: Any) -> Any:
    """Return plain dicts, lists and tuples as frozen ones, at every depth, and other values unchanged."""
    if isinstance(value, dict):
        return FrozenDict({key: freeze(item) for key, item in value.items()})
    return FrozenList(freeze(item) for item in value) if isinstance(value, list | tuple) else value
