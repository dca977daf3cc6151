"""Checked reading of a document: every value has the type that its form says, and a fault has its path."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

import msgspec

from ...core.errors import FieldProblem, InvalidInput, MalformedRequest

T = TypeVar("T")
_DECODER = msgspec.json.Decoder()
_MOST = 1 << 31


def wrong(path: str, message: str) -> InvalidInput:
    """The error for one fault at one place."""
    return InvalidInput(f"{path}: {message}", fields=[FieldProblem(path, message)])


class Fields:
    """The fields of one object. Each getter marks its field as known; `rest` has those that nobody asked for.

    An absent field and a null one are the same, as they are for the providers.
    """

    __slots__ = ("_held", "_known", "path")

    def __init__(self, held: object, path: str = "$") -> None:
        """Raises InvalidInput where the value is no object."""
        if not isinstance(held, dict):
            raise wrong(path, "Expected an object")
        self.path = path
        self._held: dict[str, Any] = held
        self._known: set[str] = set()

    @classmethod
    def of(cls, body: bytes) -> Fields:
        """The top level of a body. Raises MalformedRequest, InvalidInput."""
        try:
            held = _DECODER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedRequest(f"the body is not one JSON document: {error}") from error
        return cls(held)

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}"

    def raw(self, name: str) -> Any:
        """The value as it is, None where there is none."""
        self._known.add(name)
        return self._held.get(name)

    def text(self, name: str) -> str | None:
        """A text."""
        return self._of(name, str, "a text")

    def needed(self, name: str) -> str:
        """A text that must be there."""
        value = self.text(name)
        if value is None:
            raise wrong(self.at(name), "Expected a text; the field is required")
        return value

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """One of some texts."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise wrong(self.at(name), f"Expected one of {', '.join(sorted(choices))}")
        return value

    def flag(self, name: str) -> bool | None:
        """True or false."""
        return self._of(name, bool, "true or false")

    def whole(self, name: str, least: int = 0, most: int = _MOST) -> int | None:
        """A whole number within limits."""
        value = self._of(name, int, "a whole number")
        if value is not None and (isinstance(value, bool) or not least <= value <= most):
            raise wrong(self.at(name), f"Expected a whole number from {least} to {most}")
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number within limits."""
        value = self.raw(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise wrong(self.at(name), "Expected a number")
        if not least <= value <= most:
            raise wrong(self.at(name), f"Expected a number from {least:g} to {most:g}")
        return float(value)

    def mapping(self, name: str) -> dict[str, Any] | None:
        """An object as it is."""
        return self._of(name, dict, "an object")

    def inner(self, name: str) -> Fields | None:
        """The fields of an object."""
        value = self.mapping(name)
        return None if value is None else Fields(value, self.at(name))

    def items(self, name: str) -> list[Any] | None:
        """A list as it is."""
        return self._of(name, list, "a list")

    def objects(self, name: str) -> Iterator[Fields]:
        """The fields of each object of a list; none where the list is absent."""
        for place, item in enumerate(self.items(name) or ()):
            yield Fields(item, f"{self.at(name)}[{place}]")

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts of a list; a bare text is a list of one."""
        value = self.raw(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise wrong(self.at(name), "Expected a text or a list of texts")
        return tuple(value)

    def parts(self, name: str, plain: Callable[[str], T], part: Callable[[Fields], T]) -> tuple[T, ...]:
        """Content that is one text or a list of typed parts."""
        value = self.raw(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return (plain(value),)
        if not isinstance(value, list):
            raise wrong(self.at(name), "Expected a text or a list of parts")
        return tuple(part(each) for each in self.objects(name))

    def ignore(self, *names: str) -> None:
        """These are known, and mean nothing to a translation."""
        self._known.update(names)

    def rest(self) -> dict[str, Any]:
        """What no getter asked for and is not null."""
        return {name: value for name, value in self._held.items() if name not in self._known and value is not None}

    def _of(self, name: str, kind: type[T], wanted: str) -> T | None:
        value = self.raw(name)
        if value is None or isinstance(value, kind):
            return value
        raise wrong(self.at(name), f"Expected {wanted}")
