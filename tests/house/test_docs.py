"""What the documentation says is what the code does: its reference, its code, its commands and its links."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
HAND_WRITTEN = [page for page in PAGES if page.parent.name != "reference"]


class Block(NamedTuple):
    """A fenced block: its info string, its text, and `page:line` for the report."""

    info: str
    text: str
    place: str


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in _fences(page) if block.info.split()[:1] == [language]]


def _fences(page: Path) -> Iterator[Block]:
    info, start, lines = None, 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("```"):
            lines.append(line)
        elif info is None:
            info, start, lines = line[3:], number, []
        else:
            yield Block(info, "\n".join(lines) + "\n", f"{_name(page)}:{start}")
            info = None
    assert info is None, f"{_name(page)}:{start} is a block without end"


def _prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _page(name: str) -> str:
    return (DOCS / "reference" / name).read_text(encoding="utf-8")


# The reference


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "make_reference.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_error_has_a_class_a_next_step_and_an_entry() -> None:
    from stanchion.core.errors import BY_CODE

    text = _page("errors.md")
    for code, error in BY_CODE.items():
        assert f"\n## {code}\n" in text
        assert error.__doc__, f"{code} does not say what it means"
        assert "next_step" in vars(error) or issubclass(error.__base__, tuple(BY_CODE.values()))


def test_every_setting_is_described_and_listed() -> None:
    text = _page("settings.md")
    settings = list(_reference().settings())
    assert len(settings) > 40
    assert [s.key for s in settings if not s.about.endswith(".")] == []
    assert [s.key for s in settings if f"| `{s.key}` |" not in text] == []


def test_a_documented_variable_sets_its_setting() -> None:
    """Each variable of the reference is read by the very layer that reads the environment."""
    from stanchion.core.config import env_layer

    for setting in _reference().settings():
        if not setting.variable or "<module>" in setting.variable:
            continue
        value: Any = env_layer("environment", {setting.variable: "x"}).values
        for part in setting.key.split("."):
            value = value[part]
        assert value == "x"


def test_every_action_of_every_contract_is_listed() -> None:
    from stanchion.core.contract import methods
    from stanchion.core.module import load
    from stanchion.system.foundation import CORE_CONTRACTS
    from stanchion.system.house import ORDER

    text = _page("events.md")
    for contract in (*CORE_CONTRACTS, *(load(name).contract for name in ORDER)):
        for method in methods(contract):
            assert f"| `{method.action.name}` | {method.action.effect} |" in text
            assert f"`{contract.__name__}.{method.name}`" in text


def test_every_command_is_described_with_all_its_options() -> None:
    text = _page("commands.md")
    for words, command in _reference().commands():
        assert f"\n## stanchion {' '.join(words)}\n" in text
        assert command.help, f"{words} has no help"
        for parameter in command.params:
            assert parameter.help, f"{words}: {parameter.name} has no help"


def test_every_metric_that_runs_is_listed() -> None:
    from stanchion.core.telemetry.metrics import Metrics

    body, _ = Metrics(version="0").render()
    text = _page("metrics.md")
    for name, kind in re.findall(r"# TYPE (stanchion_\w+) (\w+)", body.decode()):
        if not name.endswith("_created"):
            assert f"| `{name}` | {kind} |" in text


# Code


@pytest.mark.parametrize("block", _blocks("python"), ids=lambda block: block.place)
def test_a_python_block_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec", dont_inherit=True)


@pytest.mark.parametrize(
    "block", [b for b in _blocks("python") if "run" in b.info.split()], ids=lambda block: block.place
)
def test_a_python_block_marked_run_runs(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "block.py"
    file.write_text(block.text, encoding="utf-8")
    done = subprocess.run([sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", _blocks("json"), ids=lambda block: block.place)
def test_a_json_block_is_json(block: Block) -> None:
    import json

    json.loads(block.text)


@pytest.mark.parametrize("block", _blocks("toml"), ids=lambda block: block.place)
def test_a_toml_block_is_a_valid_configuration(block: Block) -> None:
    import tomllib

    from stanchion.app.commands.office import settings_model
    from stanchion.core.config import Layer, load

    load(settings_model(), [Layer(block.place, tomllib.loads(block.text))])


def test_a_documented_environment_names_settings_that_exist() -> None:
    known = {setting.variable.replace("<module>", "MODULE") for setting in _reference().settings()}
    for page in HAND_WRITTEN:
        for variable in re.findall(r"STANCHION_[A-Z_]*__[A-Z_]+", page.read_text(encoding="utf-8")):
            assert re.sub(r"(?<=STANCHION_PLACE__)[A-Z]+(?=__)", "MODULE", variable) in known, (
                f"{_name(page)}: {variable}"
            )


# Commands


def _calls() -> list[tuple[str, list[str]]]:
    """Each `stanchion ...` of a shell block, as place and words."""
    found = []
    for block in _blocks("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||;|\|", line):
                match = re.search(r"(?:^|\s)stanchion (.*)", part)
                if match is not None:
                    found.append((block.place, shlex.split(match[1], comments=True)))
    return found


@pytest.mark.parametrize(
    ("place", "words"), _calls(), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_a_command_in_a_shell_block_is_one_of_ours(place: str, words: list[str]) -> None:
    import typer.main

    from stanchion.app.cli import app

    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{place}: there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    # Parses arguments and options as a call would, and runs nothing.
    command.make_context("stanchion", list(words))


def test_the_continuous_checks_find_the_readme_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for which, end in (("first", "stanchion run examples/churn/system.py"), ("second", "python -m pytest -q")):
        at = lines.index(f"<!-- {which} command -->")
        assert lines[at + 1] == "```sh"
        assert lines[at + 2].startswith("python3 -m pip install uv && uv run --no-project ")
        assert lines[at + 2].endswith(end)
        assert lines[at + 3] == "```"


def test_the_readme_asks_for_the_documented_prediction() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    features = '{"customer_id": "12345", "tenure_months": 24, "monthly_charges": 89.99}'
    assert '{"model_id": "customer-churn-v2", "features": ' + features + "}" in text


# Links and pages


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", _prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_relative_link_leads_somewhere(page: Path) -> None:
    later = {ROOT / "docs" / "images" / "console.png"}  # a screenshot, made from the running console
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        assert file.exists() or file in later, f"{target} does not exist"
        if anchor:
            assert anchor in _anchors(file), f"{target} has no such heading"


def test_the_pages_of_the_site_load_nothing_from_elsewhere() -> None:
    for page in DOCS.rglob("*.md"):
        assert not re.search(r"!\[[^]]*\]\(https?:|<(script|img|link|iframe)\b", page.read_text(encoding="utf-8")), page


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"^\s+- .*?([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    assert len(set(listed)) == len(listed)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the group `docs` is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"?(https?:[^\"\s>]+)", page.read_text("utf-8")
        )
        assert loaded == []
