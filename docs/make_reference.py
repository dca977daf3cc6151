"""Writes docs/reference/*.md from the code, so that the reference cannot say what the code does not.

`python docs/make_reference.py` writes the pages; with `--check` it writes nothing and exits 1 if one differs.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from inspect import getdoc
from io import StringIO
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "stanchion"
FOLDER = ROOT / "docs" / "reference"
HEAD = "<!-- Made from the code by `python docs/make_reference.py`. Do not edit. -->\n\n"


def pages() -> dict[str, str]:
    """Every page of the reference by its file name."""
    made = {
        "settings.md": settings_page(),
        "errors.md": errors_page(),
        "events.md": events_page(),
        "commands.md": commands_page(),
        "metrics.md": metrics_page(),
    }
    return {name: HEAD + text.rstrip() + "\n" for name, text in made.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar or a line break inside a cell does not end it."""
    lines = [
        head,
        ["---"] * len(head),
        *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def code(text: str) -> str:
    """The text in backticks; nothing for an empty text."""
    return f"`{text}`" if text else ""


# Settings


@dataclass(frozen=True)
class Setting:
    """One leaf: dotted key, environment variable ('' where none can set it), default and description."""

    key: str
    variable: str
    default: str
    about: str


def settings_page() -> str:
    """Each section with its keys, from the descriptions in the settings' own types."""
    found = list(settings())
    sections: dict[str, list[Setting]] = {}
    for one in found:
        sections.setdefault(one.key.partition(".")[0] if "." in one.key else "", []).append(one)
    parts = [
        "# Settings\n",
        "Sources, weakest first: the default, `stanchion.toml` and `.env` of the working directory, the environment,"
        " flags of the command line. `stanchion config show --sources` tells for each setting which source gave its"
        " value. An unknown key is refused, with the nearest valid name. [Configuration](../guide/configuration.md) has"
        " examples.\n",
        "A list or a table is given to an environment variable as JSON. `<module>` stands for a module's name;"
        " `[]` for an element of a list, which is set with the whole list.\n",
    ]
    for section, members in sections.items():
        rows = [(code(s.key), code(s.variable) or "none", s.default, s.about) for s in members]
        parts += [f"## {section or 'At the top'}\n", table(("Key", "Environment variable", "Default", "Meaning"), rows)]
    return "\n".join(parts)


def settings() -> Iterator[Setting]:
    """Every setting of the house and of its modules."""
    from stanchion.app.commands.office import settings_model

    yield from _leaves(settings_model(), "")


def _leaves(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner, suffix = _inner(field)
        if inner is None or suffix:
            yield Setting(key, _variable(key), _default(field), field.description or "")
        if inner is not None:
            yield from _leaves(inner, f"{key}{suffix}.")


def _inner(field: FieldInfo) -> tuple[type[BaseModel] | None, str]:
    """The settings inside a field, and what stands for one element of a list or a table."""
    kind: Any = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind, ""
    for argument in get_args(kind):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument, ".<module>" if kind.__origin__ is dict else "[]"
    return None, ""


def _variable(key: str) -> str:
    """The variable that sets the key, asked of the very function that reads variables."""
    from stanchion.core.config import PREFIX, env_layer

    variable = PREFIX + key.upper().replace(".", "__").replace("<MODULE>", "<module>")
    return variable if "[]" not in key and env_layer("environment", {variable: "1"}).values else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple):
        return ", ".join(code(str(item)) for item in value) or "empty"
    if value is None or value == {}:
        return "not set" if value is None else "empty"
    return code(str(value).lower() if isinstance(value, bool) else str(value))


# Errors


def errors_page() -> str:
    """Every error of the tree, by code."""
    from stanchion.app.commands.office import Options, report
    from stanchion.core.errors import BY_CODE, PROBLEM_TYPE

    parts = [
        "# Errors\n",
        "HTTP answers with a problem document (RFC 9457, `application/problem+json`) that holds `type`, `title`,"
        " `status`, `code`, `detail`, `next_step` and, where they apply, `errors` (each with `path` and `message`),"
        f" `retry_after`, `trace_id` and `instance`. `type` is `{PROBLEM_TYPE}CODE`. `code` is stable;"
        " `detail` is for people.\n",
        "The framework adds one code: `method_not_allowed` (405), for a path that exists and has other methods.\n",
        "On the command line an error is written to standard error, with its next step, and becomes the exit code.\n",
    ]
    silent = Options(data=Path(), json=False)
    rows = []
    for name, error in BY_CODE.items():
        with redirect_stderr(StringIO()):
            exit_code = report(silent, error())
        rows.append((f"[`{name}`](#{name})", str(error.status), str(exit_code), error.title))
    parts.append(table(("Code", "HTTP", "Exit", "Title"), rows))
    for name, error in BY_CODE.items():
        parent = next((own for own, wider in BY_CODE.items() if wider is error.__base__), "")
        kind = f" A kind of `{parent}`." if parent else ""
        parts += [f"## {name}\n", f"`stanchion.core.errors.{error.__name__}`.{kind} {getdoc(error)}\n"]
        parts.append(f"Next step: {error.next_step}\n")
    return "\n".join(parts)


# Events


def events_page() -> str:
    """What may be done, by whom, and what the audit log tells of it; what the registry tells its watchers."""
    from stanchion.core.context import EffectKind
    from stanchion.core.security.roles import ROLES
    from stanchion.registry import Change

    kinds = [str(kind) for kind in get_args(get_type_hints(Change)["kind"])]
    parts = [
        "# Events and actions\n",
        "Every method of a contract names an action. The action is the permission that a policy decides on, the name of"
        " the event in the audit log, and the label of the call's metrics. A method without one cannot be built.\n",
        f"An action has one of the effects {', '.join(code(e) for e in get_args(EffectKind))}. `read` leaves an audit"
        " event only if it is denied. `write` leaves its event in the transaction of the change. `outward` leaves an"
        " intent before and an outcome after. The outcome of an event is `done`, `intent`, `failed` or `denied`.\n",
        "## Actions\n",
        "A tick says that the built-in policies permit the action to a caller that holds this role and no scope. The"
        " scopes `NAMESPACE:VERB`, `NAMESPACE:*` and `*` permit what they name. A tenant's own policies can add"
        " and forbid.\n",
    ]
    verdicts = _verdicts()
    rows = []
    for name, (action, methods) in sorted(_actions().items()):
        marks = ["✓" if name in verdicts[role] else "" for role in ROLES]
        named = f" by `{action.by}`" if action.by else ""
        rows.append((code(name), action.effect, f"`{action.resource}`{named}", ", ".join(methods), *marks))
    parts.append(table(("Action", "Effect", "Resource", "Methods", *ROLES), rows))
    parts.append("Roles:\n")
    parts.append("\n".join(f"- `{name}`: {role.about}" for name, role in ROLES.items()) + "\n")
    parts += [
        "## Events without a method\n",
        "The console writes `sessions:login` (outcome `done` or `denied`) and `sessions:logout` for the resource"
        " `Session::console`.\n",
        "## Changes that the registry tells\n",
        "`Registry.watch` gives a `Change` with `cursor`, `model`, `version` and `kind`:"
        f" {', '.join(map(code, kinds))}."
        " Each comes at least once and in the order of its cursor.\n",
    ]
    return "\n".join(parts)


def _contracts() -> list[type[Any]]:
    from stanchion.core.module import load
    from stanchion.system.foundation import CORE_CONTRACTS
    from stanchion.system.house import ORDER

    return [*CORE_CONTRACTS, *(load(name).contract for name in ORDER)]


def _actions() -> dict[str, tuple[Any, list[str]]]:
    """Each action with the methods that it permits; where methods differ in the resource's name, the first one's."""
    from stanchion.core.contract import methods

    found: dict[str, tuple[Any, list[str]]] = {}
    for contract in _contracts():
        for method in methods(contract):
            found.setdefault(method.action.name, (method.action, []))[1].append(f"`{contract.__name__}.{method.name}`")
    return found


def _verdicts() -> dict[str, set[str]]:
    """What each built-in role may do: not read from the table of roles, but decided by Cedar."""
    from stanchion.core.context import Context, Rights
    from stanchion.core.security.policy.engine import Engine, Resource
    from stanchion.core.security.roles import ROLES

    actions = [action for action, _ in _actions().values()]
    engine = Engine(actions)
    found: dict[str, set[str]] = {}
    for role in ROLES:
        ctx = Context(tenant="t", principal="key:k", rights=Rights(roles=frozenset({role})))
        found[role] = {
            action.name
            for action in actions
            if engine.decide(engine.built_in, ctx, action, Resource(action.resource, "*", "t", {})).allowed
        }
    return found


# Commands


def commands_page() -> str:
    """Every command with its arguments and options, from the command line's own description."""
    from stanchion.app import cli

    codes = (getdoc(cli) or "").partition("Exit codes")[2].partition("\n")[0]
    parts = [
        "# Commands\n",
        f"Exit codes{codes}\n",
        "With `--json` the answer is one JSON document on standard output, and an error is a problem document on"
        " standard error. Errors never go to standard output.\n",
    ]
    for path, command in commands():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(["stanchion", *path, "[OPTIONS]", *(_placeholder(a) for a in arguments)])
        parts += [f"## stanchion {' '.join(path)}\n", f"{command.help}\n", f"```text\n{usage}\n```\n"]
        rows = [(code(_placeholder(a)), "required" if a.required else "", a.help or "") for a in arguments]
        rows += [(code(", ".join(o.opts)), _option_default(o), o.help or "") for o in options]
        parts.append(table(("Argument or option", "Default", "Meaning"), rows))
    return "\n".join(parts)


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command by its words, groups left out, in the order of the command line's help."""
    import typer.main

    from stanchion.app.cli import app

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        if not hasattr(command, "commands"):
            yield path, command
            return
        for name, inner in command.commands.items():
            yield from walk(inner, (*path, name))

    yield from walk(typer.main.get_command(app), ())


def _placeholder(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()) + ("..." if argument.nargs == -1 else "")


def _option_default(option: Any) -> str:
    if option.required:
        return "required"
    if option.is_flag or option.default in (None, "", []):
        return ""
    return code(str(option.default))


# Metrics


def metrics_page() -> str:
    """Every metric that the code declares, found in its source: modules declare their own."""
    rows = [(code(m.name), m.kind, ", ".join(map(code, m.labels)) or "none", m.about) for m in sorted(metrics())]
    return "\n".join(
        [
            "# Metrics\n",
            "`GET /metrics` gives them in the Prometheus text format to a caller with the permission"
            " `telemetry:metrics`. No label names a tenant or a person. A label takes at most 100 values; later"
            " ones count as `other`."
            " The metrics of the Python process (`process_*`, `python_*`) are there too.\n",
            table(("Metric", "Kind", "Labels", "Meaning"), rows),
        ]
    )


@dataclass(frozen=True, order=True)
class Metric:
    """One declared metric."""

    name: str
    kind: str
    labels: tuple[str, ...]
    about: str


def metrics() -> Iterator[Metric]:
    """Calls of `counter`, `gauge` and `histogram` with a name of ours."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in ("counter", "gauge", "histogram") and len(node.args) > 1:
                name, about, *labels = (ast.literal_eval(argument) for argument in node.args[:3])
                yield Metric(name, node.func.attr, tuple(labels[0]) if labels else (), about)


def main(arguments: Sequence[str]) -> int:
    """Write or check; the exit code."""
    stale = []
    for name, text in pages().items():
        path = FOLDER / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        verb = "is not what the code says; run python docs/make_reference.py" if "--check" in arguments else "written"
        sys.stdout.write(f"docs/reference/{name} {verb}\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
