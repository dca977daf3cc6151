"""Settings with their sources: defaults < stanchion.toml < .env < environment < flags.

Every leaf remembers where it came from, so that `stanchion config show --sources` can answer the question
of the worst hour: why is it set to that? An unknown key is refused with the nearest valid name.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from dotenv import dotenv_values
from pydantic import BaseModel, ValidationError

from .errors import FieldProblem, Misconfigured

S = TypeVar("S", bound=BaseModel)
Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]
PREFIX = "STANCHION_"
FILE = "stanchion.toml"


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings: its name, and nested values under lower-case keys."""

    name: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Origin:
    """A leaf of the settings: dotted key, effective value (secrets masked) and the source that gave it."""

    key: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Checked settings and the source of each leaf."""

    settings: S
    origins: Sequence[Origin]


def toml_layer(path: Path) -> Layer | None:
    """The values of a TOML file, or None where there is no file. Raises Misconfigured on a syntax error."""
    if not path.is_file():
        return None
    try:
        return Layer(path.name, tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"{path.name} is not valid TOML: {error}", next_step=f"Correct {path.name} in the working directory."
        ) from error


def env_layer(name: str, environment: Mapping[str, str | None]) -> Layer:
    """Variables `STANCHION_<SECTION>__<KEY>` as nested values; JSON arrays and objects are read as such."""
    values: dict[str, Value] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or "__" not in variable or text is None:
            continue
        *parents, leaf = variable.removeprefix(PREFIX).lower().split("__")
        place = values
        for parent in parents:
            step = place.setdefault(parent, {})
            if not isinstance(step, dict):
                raise Misconfigured(f"{variable} sets a key below a value that is set as well")
            place = step
        place[leaf] = _structured(text)
    return Layer(name, values)


def _structured(text: str) -> Value:
    """JSON where the text is an array or object, else the text: pydantic turns it into its type."""
    if text[:1] not in "[{":
        return text
    try:
        decoded: Value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return decoded


def layers(folder: Path, environment: Mapping[str, str], flags: Mapping[str, Value]) -> list[Layer]:
    """The standard sources below the defaults, weakest first; `folder` holds stanchion.toml and .env."""
    found = [toml_layer(folder / FILE)]
    if (folder / ".env").is_file():
        found.append(env_layer(".env", dotenv_values(folder / ".env", interpolate=False)))
    found.append(env_layer("environment", environment))
    found.append(Layer("flags", flags))
    return [layer for layer in found if layer is not None]


def load(model: type[S], sources: Sequence[Layer]) -> Loaded[S]:
    """Merge the layers, check them against `model` and tell each leaf's source.

    Raises Misconfigured that names every wrong key, its source and the nearest valid name.
    """
    merged: dict[str, Value] = {}
    given: dict[str, str] = {}
    for layer in sources:
        for key, value in _leaves(layer.values):
            _put(merged, key, value)
            given[".".join(key)] = layer.name
    try:
        settings = model.model_validate(merged)
    except ValidationError as error:
        raise _explain(error, model, given) from error
    origins = [
        Origin(".".join(key), _shown(key[-1], value), _source(".".join(key), given))
        for key, value in _leaves(settings.model_dump(mode="json"))
    ]
    return Loaded(settings, origins)


def _leaves(values: Mapping[str, Value], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Value]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _put(values: dict[str, Value], path: Sequence[str], value: Value) -> None:
    for key in path[:-1]:
        step = values.get(key)
        if not isinstance(step, dict):
            step = values[key] = {}
        values = step
    values[path[-1]] = value


def _source(key: str, given: Mapping[str, str]) -> str:
    while key:
        if key in given:
            return given[key]
        key = key.rpartition(".")[0]
    return "default"


def _shown(key: str, value: Value) -> str:
    """The value as text; a reference to a secret is shown, a secret written out would be masked."""
    if isinstance(value, str) and any(word in key for word in ("password", "secret", "token")):
        return "********"
    if isinstance(value, str) and "://" in value and "@" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://********@{rest.rpartition('@')[2]}"
    return msgspec.json.encode(value).decode() if not isinstance(value, str) else value


def _explain(error: ValidationError, model: type[BaseModel], given: Mapping[str, str]) -> Misconfigured:
    problems = []
    for fault in error.errors(include_url=False, include_input=False):
        place = [str(part) for part in fault["loc"]]
        key = ".".join(place)
        message = str(fault["msg"])
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(place[-1], _names(model, place[:-1]), n=1)
            message = "there is no such setting" + (f"; did you mean {near[0]!r}?" if near else "")
        problems.append(FieldProblem(key, f"{message} (set in {_source(key, given)})"))
    text = "; ".join(f"{p.path}: {p.message}" for p in problems)
    return Misconfigured(text, next_step="Correct each where it is set; the reference lists all.", fields=problems)


def _names(model: type[BaseModel], place: Iterable[str]) -> list[str]:
    current: object = model
    for part in place:
        if not (isinstance(current, type) and issubclass(current, BaseModel)) or part not in current.model_fields:
            return []
        current = current.model_fields[part].annotation
    return list(current.model_fields) if isinstance(current, type) and issubclass(current, BaseModel) else []
