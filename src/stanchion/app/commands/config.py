"""`stanchion config show`."""

from __future__ import annotations

from pathlib import Path

from .office import DONE, Options, read_settings, run, show, table


def shown(*, sources: bool, data: Path, json: bool) -> int:
    """Print every setting; with its source if asked."""
    options = Options(data=data, json=json)

    async def work() -> int:
        origins = read_settings(options).origins
        if sources:
            rows = [(o.key, o.value, o.source) for o in origins]
            show(
                options,
                [{"key": o.key, "value": o.value, "source": o.source} for o in origins],
                lambda: table(("SETTING", "VALUE", "SOURCE"), rows),
            )
        else:
            show(
                options,
                {o.key: o.value for o in origins},
                lambda: table(("SETTING", "VALUE"), [(o.key, o.value) for o in origins]),
            )
        return DONE

    return run(options, work)
