"""Spec files: YAML or JSON in, a ``Tuning`` out, and back; and their JSON Schema."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sm_tuning._documents import MAX_DEPTH, DocumentError, YamlLoader, parse_json, parse_yaml, read_limited
from sm_tuning._errors import Problem, SpecError
from sm_tuning._files import write_atomic
from sm_tuning.spec._inputs import Input
from sm_tuning.spec._tuning import TrainingDefinition, Tuning

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$(\$\{)")

_SYNTAX_FIX = "write a mapping of fields"
_OVERRIDE_FIX = "write --set PATH=VALUE"


#: The tag of the key << in YAML 1.1. A merge would hide which of two values of a field counts.
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(YamlLoader):
    """YAML in which ``1e-5`` is a number, and a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                line = key_node.start_mark.line + 1
                raise DocumentError(f"line {line} has the key <<, and mappings are not merged: write the keys out")
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool):
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """YAML that quotes whatever text ``_Loader`` would read as a number."""


# YAML 1.1, which PyYAML reads, takes a number without a dot such as 1e-5 for text.
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )


def load(
    path: str | os.PathLike[str], *, overrides: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> Tuning:
    """Read a spec file.

    Args:
        path: a ``.yaml``, ``.yml`` or ``.json`` file; paths inside are relative to it.
        overrides: ``PATH=VALUE`` strings, such as ``max_jobs=5`` or ``estimator.hyperparameters.num_round=10``;
            the value is read as YAML.
        environ: values for ``${VAR}`` and ``${VAR:-fallback}``; by default the process's environment. ``$${`` is
            a plain ``${``.

    Raises:
        SpecError: if the file is missing, is not YAML or JSON, names an unknown variable, or breaks a rule.
    """
    path = Path(path)
    data = read_data(path)
    if not isinstance(data, dict):
        message = f"a spec file holds a mapping of fields, but this holds {type(data).__name__}"
        raise SpecError(Problem("file-syntax", "", message, _SYNTAX_FIX), source=str(path))
    data = _map_strings(data, _substitution(os.environ if environ is None else environ, str(path)))
    for override in overrides:
        _set(data, override)
    folder = path.parent.absolute()

    def absolute(text: str) -> str:
        return text if "://" in text else os.path.normpath(folder / os.path.expanduser(text))  # noqa: PTH111

    return Tuning.parse(_map_paths(data, absolute), where=str(path))


def as_tuning(tuning: Tuning | str | os.PathLike[str]) -> Tuning:
    """Return a spec unchanged, or load the spec file of a path.

    Raises:
        SpecError: if it is neither, or ``load`` fails.
    """
    if isinstance(tuning, Tuning):
        return tuning
    if isinstance(tuning, str | os.PathLike):
        return load(tuning)
    raise SpecError(f"a Tuning, or the path of a spec file, is needed here, but got {type(tuning).__name__}")


def dump(tuning: Tuning, path: str | os.PathLike[str]) -> Path:
    """Write a spec file that ``load`` reads back to an equal ``Tuning``; fields at their default are left out.

    Raises:
        SpecError: if the ending is not ``.yaml``, ``.yml`` or ``.json``.
    """
    path = Path(path)
    if path.suffix not in {".json", ".yaml", ".yml"}:
        raise SpecError(f"a spec file ends in .yaml, .yml or .json, but got {str(path)!r}")
    # A reader in another process sees the old file or the new one, never a part.
    write_atomic(path, to_text(tuning, folder=path.parent, as_json=path.suffix == ".json"))
    return path


def to_text(tuning: Tuning, *, folder: Path, as_json: bool = False) -> str:
    """Return the content of a spec file; fields at their default are left out.

    Args:
        tuning: the spec.
        folder: where the file will be; local paths become relative to it.
        as_json: JSON in place of YAML.
    """
    start = folder.absolute()

    def relative(text: str) -> str:
        return text if "://" in text else Path(os.path.relpath(Path(text).expanduser().absolute(), start)).as_posix()

    data = _map_strings(_map_paths(to_data(tuning), relative), lambda text: text.replace("${", "$${"))
    if as_json:
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def to_data(tuning: Tuning) -> dict[str, Any]:
    """Return the spec as plain data without fields at their default; ``Tuning.parse`` reads it back."""
    data: dict[str, Any] = tuning.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    holders: list[tuple[dict[str, Any], Tuning | TrainingDefinition]] = [(data, tuning)]
    holders += [(data["estimators"][name], definition) for name, definition in tuning.estimators.items()]
    for holder, source in holders:
        # The types are defaults, and so left out, but a file cannot be read without them.
        if source.estimator is not None:
            holder["estimator"] = {"type": source.estimator.type, **holder["estimator"]}
        for name, range_ in source.hyperparameter_ranges.items():
            holder["hyperparameter_ranges"][name] = {"type": range_.type, **holder["hyperparameter_ranges"][name]}
        for name, channel in (holder.get("inputs") or {}).items():
            # A channel is written as its URI alone if that gives the same channel, content type included.
            uri = channel.get("uri")
            if uri is not None and channel in ({"uri": uri}, Input(uri=uri).model_dump(exclude_defaults=True)):
                holder["inputs"][name] = uri
    return data


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Tuning.model_json_schema(by_alias=True),
        "title": "sm_tuning spec file",
    }


def read_data(path: Path, kind: str = "spec file") -> Any:
    """Return the content of a YAML or JSON file.

    Args:
        path: the file.
        kind: what messages call it.

    Raises:
        SpecError: if the file cannot be read, or is not YAML or JSON.
    """
    fix = "give the path of a readable spec file"
    try:
        text = read_limited(path)
    except OSError as error:
        message = f"cannot read the {kind} {str(path)!r}: {error.strerror or error}"
        raise SpecError(Problem("file-unreadable", "", message, fix)) from error
    except UnicodeDecodeError as error:
        message = f"a {kind} is UTF-8 text, but byte {error.start} is not"
        raise SpecError(Problem("file-unreadable", "", message, fix), source=str(path)) from error
    except DocumentError as error:
        raise SpecError(
            Problem("file-unreadable", "", f"a {kind} is small, but {error}", fix), source=str(path)
        ) from error
    try:
        if path.suffix == ".json":
            return parse_json(text)
        return parse_yaml(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError):
            # The line may hold a secret. It is removed from the error too, which a traceback shows.
            marks = [mark for mark in (error.problem_mark, error.context_mark) if mark is not None]
            for mark in marks:
                mark.buffer = None
            reason = ", ".join(filter(None, (error.context, error.problem)))
            reason += f" in line {marks[0].line + 1}, column {marks[0].column + 1}" if marks else ""
        language = "JSON" if path.suffix == ".json" else "YAML"
        message = f"this is not {language}: {reason}"
        if isinstance(error, DocumentError):
            message = f"this {language} cannot be a {kind}: {reason}"
        raise SpecError(Problem("file-syntax", "", message, _SYNTAX_FIX), source=str(path)) from error


def read_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Return ``PATH=VALUE`` strings as nested fields.

    Raises:
        SpecError: if a string does not have that form.
    """
    data: dict[str, Any] = {}
    for override in overrides:
        _set(data, override)
    return data


def overridden(tuning: Tuning, overrides: Iterable[str]) -> Tuning:
    """Return a spec with ``PATH=VALUE`` strings applied, as ``load`` applies them.

    Raises:
        SpecError: if a string does not have that form, or the changed spec breaks a rule.
    """
    data = to_data(tuning)
    for override in overrides:
        _set(data, override)
    return Tuning.parse(data)


def _set(data: dict[str, Any], override: str) -> None:
    """Apply one ``PATH=VALUE`` in place.

    Raises:
        SpecError: if it does not have that form, or the path goes through a value that is not a mapping.
    """
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        message = f"an override has the form PATH=VALUE, such as max_jobs=5, but got {override!r}"
        raise SpecError(Problem("override", "", message, _OVERRIDE_FIX))
    try:
        value = parse_yaml(text, _Loader)
    except yaml.YAMLError:
        value = text
    except DocumentError as error:
        message = f"the value of the override {dotted[:100]!r} cannot be used: {error}"
        raise SpecError(Problem("override", "", message, _OVERRIDE_FIX)) from error
    *parents, last = dotted.split(".")
    if len(parents) > MAX_DEPTH:
        message = f"the path of an override has at most {MAX_DEPTH} parts, but got {len(parents) + 1}"
        raise SpecError(Problem("override", "", message, _OVERRIDE_FIX))
    node: Any = data
    for part in parents:
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        message = f"the override {dotted!r} goes through a value that has no fields"
        raise SpecError(Problem("override", "", message, _OVERRIDE_FIX))
    node[last] = value


def _map_strings(data: Any, change: Callable[[str], Any]) -> Any:
    """Apply ``change`` to every string at any depth; keys stay as they are."""
    if isinstance(data, dict):
        return {key: _map_strings(value, change) for key, value in data.items()}
    if isinstance(data, list):
        return [_map_strings(value, change) for value in data]
    return change(data) if isinstance(data, str) else data


def _substitution(environ: Mapping[str, str], source: str) -> Callable[[str], Any]:
    """Return a function that replaces ``${VAR}`` in a text."""

    def value_of(match: re.Match[str]) -> str:
        name, fallback, escaped = match.groups()
        if escaped:
            return str(escaped)
        if name not in environ and fallback is None:
            message = f"the variable ${{{name}}} is not set; set it, or write ${{{name}:-fallback}}"
            fix = "set the variable, or write ${NAME:-fallback}"
            raise SpecError(Problem("variable-unset", "", message, fix), source=source)
        return str(environ.get(name, fallback))

    def substitute(text: str) -> Any:
        # Behind the last brace is no variable; the expression would search it once for each "${".
        head, brace, tail = text.rpartition("}")
        new = _VARIABLE.sub(value_of, head + brace) + tail
        if not _VARIABLE.fullmatch(text):
            return new
        # A text that is nothing but a variable is read as YAML, so that numbers stay numbers.
        try:
            value = parse_yaml(new, _Loader)
        except (yaml.YAMLError, DocumentError):
            return new
        return new if value is None or isinstance(value, dict | list) else value

    return substitute


def _map_paths(data: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Apply ``change`` to every local path of a spec: sources, dependencies, input channels, and Ray's storage.

    The data is not validated yet: a value of an unexpected type is left for the validation to report.
    """

    def changed(value: Any) -> Any:
        if isinstance(value, dict) and "uri" in value:
            return {**value, "uri": changed(value["uri"])}
        return change(value) if isinstance(value, str) else value

    data = dict(data)
    if isinstance(data.get("evaluation"), dict) and "test" in data["evaluation"]:
        data["evaluation"] = {**data["evaluation"], "test": changed(data["evaluation"]["test"])}
    if isinstance(data.get("ray"), dict) and "storage_path" in data["ray"]:
        data["ray"] = {**data["ray"], "storage_path": changed(data["ray"]["storage_path"])}
    holders = [data]
    if isinstance(data.get("estimators"), dict):
        data["estimators"] = {k: dict(v) if isinstance(v, dict) else v for k, v in data["estimators"].items()}
        holders += [value for value in data["estimators"].values() if isinstance(value, dict)]
    for holder in holders:
        estimator, inputs = holder.get("estimator"), holder.get("inputs")
        if isinstance(estimator, dict):
            # An entry point inside a source_dir is a name in that folder, not a path.
            name = "source_dir" if estimator.get("source_dir") else "entry_point"
            paths = {name: changed(estimator[name])} if name in estimator else {}
            if isinstance(estimator.get("dependencies"), list):
                paths["dependencies"] = [changed(path) for path in estimator["dependencies"]]
            holder["estimator"] = {**estimator, **paths}
        if isinstance(inputs, dict):
            holder["inputs"] = {name: changed(channel) for name, channel in inputs.items()}
        elif isinstance(inputs, str):
            holder["inputs"] = change(inputs)
    return data
