"""The habits of the house that a machine can check."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "stanchion").rglob("*.py"))
OURS = [
    *SOURCES,
    *(p for d in ("tests", "examples", "benchmarks", "docs") if (ROOT / d).is_dir() for p in (ROOT / d).rglob("*.py")),
]
MODULES = ("registry", "training", "serving", "features", "gateway", "pipelines", "events", "review", "data")
CORE_LINES = 9_000
LONGEST_FILE, LONGEST_FUNCTION = 500, 60
UNWANTED = {"utils", "util", "helpers", "helper", "common", "misc", "contrib", "v2"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", OURS, ids=_name)
def test_a_file_is_short_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_function_fits_a_screen(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_module_says_why_it_exists(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_nothing_has_a_name_that_says_nothing() -> None:
    assert not [_name(path) for path in SOURCES if path.stem in UNWANTED or path.parent.name in UNWANTED]


def test_core_stays_small() -> None:
    lines = sum(_code_lines(path) for path in SOURCES if "core" in path.relative_to(ROOT / "src/stanchion").parts[:1])
    assert lines <= CORE_LINES


def _code_lines(path: Path) -> int:
    """Lines that hold code: no blank lines, no comments, no docstrings."""
    text = path.read_text(encoding="utf-8")
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documentation |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            held |= set(range(token.start[0], token.end[0] + 1))
    return len(held - documentation)


def _home(value: object) -> str:
    return str(getattr(value, "__module__", ""))


@pytest.mark.parametrize("name", MODULES)
def test_a_door_lists_what_it_offers_and_nothing_else(name: str) -> None:
    door = import_module(f"stanchion.{name}")
    contract = import_module(f"stanchion.{name}.contract")
    public = {n for n, v in vars(contract).items() if _home(v).startswith(contract.__name__) and n[0] != "_"}
    listed = getattr(contract, "__all__", door.__all__)
    # Constants first, as the formatter has them.
    assert listed == sorted(listed, key=lambda one: (not one.isupper(), one))
    assert set(listed) <= set(door.__all__)
    assert public <= set(door.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_its_rooms_and_its_page(name: str) -> None:
    folder = ROOT / "src" / "stanchion" / name
    for room in ("contract", "service", "module"):
        assert (folder / f"{room}.py").is_file() or (folder / room / "__init__.py").is_file(), room
    assert (folder / "__init__.py").is_file()
    assert (folder / "README.md").read_text(encoding="utf-8").lower().count("not for") >= 1


def test_the_public_names_are_few_and_sorted() -> None:
    import stanchion

    assert stanchion.__all__ == sorted(stanchion.__all__)
    assert len(stanchion.__all__) <= 50
    assert all(getattr(stanchion, name) is not None for name in stanchion.__all__)


HEAVY = (
    "numpy", "sqlalchemy", "fastapi", "starlette", "onnxruntime", "cryptography", "aiohttp", "sklearn", "pandas",
    "opentelemetry", "alembic", "redis", "psycopg", "obstore", "cedarpy", "jinja2", "uvicorn", "typer", "rich",
    "duckdb", "pyarrow", "deltalake", "grpc", "lightgbm", "xgboost", "PIL", "httpx2", "websockets",
)  # fmt: skip


def test_importing_stanchion_loads_no_heavy_library_and_is_quick() -> None:
    program = (
        "import sys, time; started = time.process_time(); import stanchion; used = time.process_time() - started;"
        "stanchion.System; print(used, *sys.modules)"
    )
    seconds, *loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(HEAVY) & set(loaded)
    assert float(seconds) < 0.3


def test_help_is_quick() -> None:
    program = (
        "import resource, subprocess, sys;"
        "subprocess.run([sys.executable, '-m', 'stanchion', '--help'], check=True, stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert float(out) < 0.5


SUPPRESSION = re.compile(r"#\s*(type: ignore|noqa|pragma: no cover|fmt: off)")
LEDGER = Path(__file__).with_name("suppressions.json")


def test_suppressed_checks_have_a_reason_and_only_become_fewer() -> None:
    found: Counter[str] = Counter()
    bare = []
    for path in SOURCES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            match = SUPPRESSION.search(line)
            if match is None:
                continue
            found[_name(path)] += 1
            rest = line[match.end() :]
            if not re.search(r"(\s-\s|#)\s*\S+\s+\S+", rest):
                bare.append(f"{_name(path)}:{number}")
    allowed = json.loads(LEDGER.read_text(encoding="utf-8"))
    assert not bare, "a suppression without a reason"
    assert {n: c for n, c in found.items() if c > allowed.get(n, 0)} == {}, "new suppressions"
    assert {n: c for n, c in allowed.items() if c > found.get(n, 0)} == {}, "fewer than the ledger says: lower it"


def test_no_contract_method_is_without_an_action() -> None:
    from stanchion.core.contract import methods
    from stanchion.core.module import load
    from stanchion.system.foundation import CORE_CONTRACTS

    for contract in (*CORE_CONTRACTS, *(load(name).contract for name in MODULES)):
        assert methods(contract)


def test_no_file_holds_a_path_of_a_machine_or_a_package_host() -> None:
    pattern = re.compile(r"(^|[^\w.])/(home|root|Users)/|\bindex-url\b|https?://[^ \"]+\.(whl|tar\.gz)\b")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    own = _name(Path(__file__))
    found = [
        name
        for name in names
        if name and name != own and (ROOT / name).suffix in {".py", ".md", ".toml", ".txt", ".yml", ".cfg", ".ini", ""}
        if pattern.search((ROOT / name).read_text(encoding="utf-8", errors="ignore"))
    ]
    assert not found
