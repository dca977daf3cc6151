"""What every command shares: settings, an opened house, the operator's Context, and output for people or machines."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from pydantic import create_model

from ...core.clock import SystemClock
from ...core.config import Loaded, Value, layers, load
from ...core.context import Context, Rights
from ...core.declaration import Declarations, load_declarations
from ...core.errors import (
    InvalidInput,
    Misconfigured,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    StanchionError,
    Unavailable,
)
from ...core.module import Settings
from ...core.module import load as load_module
from ...core.settings import HouseSettings, check_exposure, check_mesh
from ...system.house import ORDER, House

T = TypeVar("T")
DONE, FAILED, WRONG_USE = 0, 1, 2
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WRONG = (Misconfigured, InvalidInput, NotFound, NotAllowed, NotAuthenticated)


@dataclass(frozen=True, slots=True)
class Options:
    """What was said on the command line that concerns more than one command."""

    data: Path
    json: bool = False
    flags: Mapping[str, Value] = field(default_factory=dict)


def settings_model() -> type[HouseSettings]:
    """House settings with one section for each module. Loading them loads no engine."""
    sections: dict[str, Any] = {}
    for name in ORDER:
        kind = load_module(name).settings
        sections[name] = (kind, kind())
    return create_model("StanchionSettings", __base__=HouseSettings, **sections)


def read_settings(options: Options) -> Loaded[HouseSettings]:
    """Defaults < stanchion.toml < .env < environment < flags, of the working directory."""
    return load(settings_model(), layers(Path.cwd(), _environment(), options.flags))


def _environment() -> dict[str, str]:
    """The process's environment: read here, at the outermost edge, and passed on."""
    return dict(os.environ)


@asynccontextmanager
async def opened(
    options: Options, *, file: Path | None = None, only: Sequence[str] | None = None, serving: bool = False
) -> AsyncIterator[House]:
    """A house for the data folder; `only` are the modules to build. It is closed at the end, whatever happens."""
    loaded = read_settings(options)
    settings = loaded.settings
    if only is not None:
        settings = settings.model_copy(update={"modules": settings.modules.model_copy(update={"enabled": tuple(only)})})
    if serving:
        check_exposure(settings)
    check_mesh(settings)
    declared: Declarations | None = load_declarations(file) if file is not None else None
    house = await House.open(
        settings,
        options.data.absolute(),
        clock=SystemClock(),
        environment=_environment(),
        declared=declared,
        system_file=str(file.absolute()) if file is not None else "",
        module_settings=_module_settings(settings),
    )
    try:
        yield house
    finally:
        await house.close()


def _module_settings(settings: HouseSettings) -> dict[str, Settings]:
    return {name: getattr(settings, name) for name in ORDER if isinstance(getattr(settings, name, None), Settings)}


def operator(tenant: str) -> Context:
    """The Context of a person at this machine's command line: an admin of the tenant, by the name of the account.

    Raises InvalidInput if the tenant is none that a credential could have.
    """
    if not _TENANT.fullmatch(tenant):
        raise InvalidInput(f"{tenant!r} is no tenant", next_step="Use up to 64 letters, digits, dots and dashes.")
    return Context(tenant=tenant, principal=f"operator:{_account()}", rights=Rights(roles=frozenset({"admin"})))


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container the account often has a number and no name.
        return str(os.getuid())


def show(options: Options, data: object, human: Callable[[], str]) -> None:
    """Print one JSON line for machines, or the text for people."""
    sys.stdout.write((msgspec.json.encode(data).decode() if options.json else human().rstrip()) + "\n")
    sys.stdout.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns of text under their heads; `-` for what is absent."""
    cells = [list(head), *[["-" if cell is None or cell == "" else str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)


def run(options: Options, work: Callable[[], Awaitable[int]], *, stopped: int = FAILED) -> int:
    """Run a command's coroutine; an error becomes a message with its next step, and the documented exit code.

    SIGTERM and SIGINT end it in order, with the code `stopped`.
    """
    import uvloop

    # Without a handler Python prints errors itself, with their traceback. What a command has to say it says below.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_stoppable(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("stopped\n")
        return stopped
    except Exception as error:
        return _failed(options, error)


def _failed(options: Options, error: Exception) -> int:
    while isinstance(error, ExceptionGroup):
        # The first is the cause; what the others met while they were ended with it tells nothing.
        error = error.exceptions[0]
    if type(error) is StanchionError and isinstance(error.__cause__, Exception):
        # A door hides a fault of the program from its callers. Who stands at this machine may know it.
        error = error.__cause__
    if isinstance(error, StanchionError):
        return report(options, error)
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has enough of it. Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return report(options, _unusable(error) if isinstance(error, OSError) else _unforeseen(error))


async def _stoppable(work: Callable[[], Awaitable[T]]) -> T:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work()


def _unusable(error: OSError) -> StanchionError:
    """A path on the command line, or in a setting, that the operating system does not let us use."""
    said = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
    if isinstance(
        error, FileNotFoundError | FileExistsError | NotADirectoryError | IsADirectoryError | PermissionError
    ):
        return InvalidInput(said, next_step="Name a path that exists and that this account may use.")
    return Unavailable(said)


def _unforeseen(error: Exception) -> StanchionError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return StanchionError(
        f"{type(error).__name__} at {place}: {error}", next_step="Report this line: it is a fault of the program."
    )


def report(options: Options, error: StanchionError) -> int:
    """Say what went wrong on standard error; the exit code."""
    if options.json:
        sys.stderr.write(msgspec.json.encode(error.problem()).decode() + "\n")
    else:
        sys.stderr.write(f"stanchion: {error.detail}\n")
        for fault in error.fields:
            if fault.message not in error.detail:
                sys.stderr.write(f"  {fault.path}: {fault.message}\n")
        sys.stderr.write(f"  next: {error.hint}\n")
    return WRONG_USE if isinstance(error, _WRONG) else FAILED
