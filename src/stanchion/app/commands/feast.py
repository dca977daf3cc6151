"""`stanchion features import-feast`."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import InvalidInput
from ...features import feast_declarations
from .office import DONE, Options, run, show

_LARGEST = 256 << 20


def imported(registry: Path, *, out: Path | None, json: bool) -> int:
    """Write the declarations, or print them; the exit code."""
    options = Options(data=Path(), json=json)

    async def work() -> int:
        text = feast_declarations(_content(registry))
        if out is not None:
            _write(out, text)
        document = {"registry": str(registry), "out": None if out is None else str(out), "text": text}
        told = f"{out} holds the declarations; read its remarks." if out is not None else text.rstrip("\n")
        show(options, document, lambda: told)
        return DONE

    return run(options, work)


def _content(registry: Path) -> bytes:
    try:
        if registry.stat().st_size > _LARGEST:
            raise InvalidInput(f"{registry} is larger than {_LARGEST >> 20} MB")
        return registry.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{registry} cannot be read: {error.strerror}", next_step="Name Feast's registry.db."
        ) from error


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InvalidInput(f"{out} exists", next_step="Name a file that does not exist.") from error
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error.strerror}") from error
