"""Fills the gaps of a template. Nothing in it is run, and what fills a gap is never read as a template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ...core.errors import FieldProblem, InvalidInput
from ...core.values import Json
from ..contract.prompts import Message, Variable, VariableType

_GAP = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]{0,63})\s*\}\}")
_STRAY = re.compile(r"\{\{[^{}]{0,80}\}\}")
_TYPES: Mapping[VariableType, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
}
_LONGEST = 200_000


def check(messages: Sequence[Message], variables: Sequence[Variable]) -> None:
    """Raises InvalidInput for a template that could never be filled."""
    if not messages or not all(message.text.strip() for message in messages):
        raise InvalidInput("a prompt needs a message, and every message needs words")
    if sum(len(message.text) for message in messages) > _LONGEST:
        raise InvalidInput(f"a prompt holds at most {_LONGEST} characters")
    names = [variable.name for variable in variables]
    if len(set(names)) < len(names):
        raise InvalidInput("a variable is declared twice")
    gaps = {name for message in messages for name in _GAP.findall(message.text)}
    problems = [_stray(place, message) for place, message in enumerate(messages)]
    faults = [problem for problem in problems if problem is not None]
    faults += [FieldProblem("$.variables", f"{{{{{name}}}}} has no variable") for name in sorted(gaps - set(names))]
    faults += [FieldProblem("$.variables", f"no gap is named {name}") for name in sorted(set(names) - gaps)]
    faults += [
        FieldProblem(f"$.variables.{each.name}.default", f"is no {each.type}")
        for each in variables
        if each.default is not None and not _is(each.default, each.type)
    ]
    if faults:
        raise InvalidInput("the gaps and the variables of the prompt do not fit together", fields=faults)


def fill(messages: Sequence[Message], variables: Sequence[Variable], values: Mapping[str, Json]) -> Sequence[Message]:
    """The messages with every gap filled. Raises InvalidInput with the path of each variable that is wrong."""
    known = {variable.name: variable for variable in variables}
    faults = [FieldProblem(f"$.variables.{name}", "the prompt has no such variable") for name in values.keys() - known]
    words: dict[str, str] = {}
    for variable in variables:
        value = values.get(variable.name, variable.default)
        if value is None and variable.required:
            faults.append(FieldProblem(f"$.variables.{variable.name}", "is missing"))
        elif value is not None and not _is(value, variable.type):
            faults.append(FieldProblem(f"$.variables.{variable.name}", f"is no {variable.type}"))
        else:
            words[variable.name] = _told(value)
    if faults:
        faults.sort(key=lambda fault: fault.path)
        raise InvalidInput(f"{faults[0].path}: {faults[0].message}", fields=faults)
    return [Message(message.role, _GAP.sub(lambda gap: words[gap[1]], message.text)) for message in messages]


def _is(value: Json, kind: VariableType) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, list):
        return kind == "list" and all(isinstance(each, str | int | float) for each in value)
    return isinstance(value, _TYPES[kind])


def _told(value: Json) -> str:
    """A value as words: lists as lines, truth as JSON has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "\n".join(f"- {_told(each)}" for each in value)
    return str(value)


def _stray(place: int, message: Message) -> FieldProblem | None:
    """Something between double braces that is no gap: most likely a typing error."""
    for found in _STRAY.finditer(message.text):
        if not _GAP.fullmatch(found[0]):
            return FieldProblem(f"$.messages[{place}].text", f"{found[0]} is no gap: take a name of letters, digits, _")
    return None
