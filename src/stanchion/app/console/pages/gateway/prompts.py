"""Prompts: versions that never change, labels that say which is in use, and the forms for both."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import get_args
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from .....gateway import Message, Prompt, PromptRole, PromptView, Variable, VariableType
from ...flash import Flash
from ...forms import number, whole
from ...rendering import query
from ...shell import Shell
from .room import HOME, door

_PROMPTS, _VERSIONS, _TURNS = 90, 30, 8
_VARIABLE = re.compile(r"(?P<name>\w+)\s*(?P<free>\?)?\s*(?::\s*(?P<type>\w+))?\s*(?:=\s*(?P<default>.*))?")
_ROLES: tuple[PromptRole, ...] = get_args(PromptRole)
_TYPES: tuple[VariableType, ...] = get_args(VariableType)


async def listing(shell: Shell, request: Request, ctx: Context) -> Response:
    """Every prompt with its labels, and the form for a new one."""
    return await _list(shell, request, ctx)


async def create(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """The first version of a prompt."""
    name = form.get("name", "").strip()
    try:
        made = await _add(shell, ctx, name, form, after=0)
    except StanchionError as error:
        return await _list(shell, request, ctx, error=error, given=form)
    return shell.leave(request, _address(made.name), Flash("ok", f"The prompt {made.name} has its first version."))


async def detail(shell: Shell, request: Request, ctx: Context) -> Response:
    """One prompt in one version: the newest, or the one of `?version=`."""
    return await _show(shell, request, ctx)


async def add(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """The next version of a prompt."""
    name = request.path_params["prompt"]
    try:
        after = whole(form.get("after", ""), name="the version that it follows", least=0, most=10**9)
        made = await _add(shell, ctx, name, form, after=after)
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error, given=form)
    said = f"{name} has version {made.version}; no label shows it yet."
    return shell.leave(request, _address(name), Flash("ok", said))


async def label(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Let a label show one version, several by weight, or none."""
    name, word = request.path_params["prompt"], form.get("label", "").strip()
    try:
        view = await door(shell).label_prompt(ctx, name, word, _weights(form.get("weights", "")))
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error, given=form)
    shown = view.labels.get(word)
    said = f"{word} of {name} shows {_told(shown)}." if shown else f"{name} has no label {word} any more."
    return shell.leave(request, _address(name), Flash("ok", said))


async def _list(
    shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None, given: Mapping[str, str] = {}
) -> Response:
    views = await door(shell).prompts(ctx)
    return shell.page(
        request,
        "gateway_prompts.html",
        error=error,
        views=views[:_PROMPTS],
        left_out=max(0, len(views) - _PROMPTS),
        given=given,
        roles=_ROLES,
        turns=_turns((), given),
    )


async def _show(
    shell: Shell, request: Request, ctx: Context, *, error: StanchionError | None = None, given: Mapping[str, str] = {}
) -> Response:
    name = request.path_params["prompt"]
    view = await _find(shell, ctx, name)
    wanted = whole(request.query_params.get("version", ""), name="the version", least=1, most=10**9)
    shown = await door(shell).prompt(ctx, name, wanted)
    before = await door(shell).prompt(ctx, name, shown.version - 1) if shown.version > 1 else None
    return shell.page(
        request,
        "gateway_prompt.html",
        error=error,
        view=view,
        prompt=shown,
        changed=_changed(before, shown),
        versions=list(range(view.newest, max(0, view.newest - _VERSIONS), -1)),
        labels=_labels(view, shown.version),
        given=given,
        roles=_ROLES,
        turns=_turns(shown.messages, given),
        variables=given.get("variables", "\n".join(map(_line, shown.variables))),
        action=_address(name),
        pick=lambda version: f"{_address(name)}{query(version=version)}",
    )


async def _find(shell: Shell, ctx: Context, name: str) -> PromptView:
    for view in await door(shell).prompts(ctx):
        if view.name == name:
            return view
    raise NotFound(f"there is no prompt {name!r}", next_step="Prompts lists those there are.")


async def _add(shell: Shell, ctx: Context, name: str, form: Mapping[str, str], *, after: int | None) -> Prompt:
    turns = [
        Message(_role(form.get(f"role-{place}", "")), text)
        for place in range(1, _TURNS + 1)
        if (text := form.get(f"text-{place}", "")).strip()
    ]
    note = form.get("note", "").strip()[:1000]
    return await door(shell).add_prompt(ctx, name, turns, variables=_variables(form), note=note, after=after)


def _role(text: str) -> PromptRole:
    for role in _ROLES:
        if role == text:
            return role
    raise InvalidInput(f"there is no role {text[:40]!r}", next_step=f"The roles are {', '.join(_ROLES)}.")


def _variables(form: Mapping[str, str]) -> list[Variable]:
    """One a line, `name: type = default`; a `?` behind the name: it may be left out. Raises InvalidInput."""
    return [_variable(line.strip()) for line in form.get("variables", "").splitlines() if line.strip()]


def _variable(line: str) -> Variable:
    found = _VARIABLE.fullmatch(line)
    kind = next((each for each in _TYPES if found and each == (found["type"] or "string")), None)
    if found is None or kind is None:
        raise InvalidInput(
            f"{line[:60]!r} declares no variable",
            next_step=f"Write name: type = default; the types are {', '.join(_TYPES)}.",
        )
    default = None
    if found["default"] is not None:
        default = found["default"].strip()
        if kind != "string":
            try:
                default = json.loads(default)
            except ValueError:
                raise InvalidInput(f"the default of {found['name']} is no {kind}") from None
    return Variable(found["name"], kind, default, required=found["free"] is None)


def _line(variable: Variable) -> str:
    """The variable as `_variable` reads it."""
    default = variable.default if isinstance(variable.default, str) else json.dumps(variable.default)
    end = "" if variable.default is None else f" = {default}"
    return f"{variable.name}{'' if variable.required else '?'}: {variable.type}{end}"


def _weights(text: str) -> dict[int, float]:
    """`3` or `3: 90, 4: 10`. Raises InvalidInput."""
    weights: dict[int, float] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        version, _, weight = part.partition(":")
        place = whole(version.strip() or "?", name="a version", least=1, most=10**9) or 0
        weights[place] = number(weight.strip() or "1", name=f"the weight of version {place}", least=0, most=1e6)
    return weights


def _told(weights: Mapping[int, float]) -> str:
    if len(weights) == 1:
        return f"version {next(iter(weights))}"
    whole_weight = sum(weights.values())
    parts = [f"version {version} for {weight / whole_weight:.0%}" for version, weight in sorted(weights.items())]
    return " and ".join(parts)


def _labels(view: PromptView, shown: int) -> list[tuple[str, list[tuple[int, float]], bool]]:
    """Each label with its versions and their shares, and whether it shows the version that is looked at."""
    found = []
    for name, weights in sorted(view.labels.items()):
        whole_weight = sum(weights.values()) or 1.0
        found.append((name, [(v, w / whole_weight) for v, w in sorted(weights.items())], shown in weights))
    return found


def _turns(messages: Sequence[Message], given: Mapping[str, str]) -> list[tuple[str, str]]:
    """The role and text of each turn of the form: as they were sent, or as they are with room for one more."""
    if any(name.startswith("text-") for name in given):
        places = [n for n in range(1, _TURNS + 1) if f"text-{n}" in given]
        return [(given.get(f"role-{n}", "user"), given[f"text-{n}"]) for n in places]
    held: list[tuple[str, str]] = [(message.role, message.text) for message in messages[:_TURNS]]
    if not held:
        return [("system", ""), ("user", "")]
    return [*held, ("user", "")][:_TURNS]


def _changed(before: Prompt | None, now: Prompt) -> list[tuple[str, str]]:
    """The lines that the version added (`+`) and left out (`-`) against the one before it, at most 60."""
    if before is None:
        return []
    # Imported where it is used: few pages compare anything.
    from difflib import ndiff

    def lines(prompt: Prompt) -> list[str]:
        return [f"{m.role}: {line}" for m in prompt.messages for line in m.text.splitlines()]

    return [(line[0], line[2:]) for line in ndiff(lines(before), lines(now)) if line[0] in "+-"][:60]


def _address(name: str) -> str:
    return f"{HOME}/prompts/{quote(name, safe='')}"
