"""`stanchion models register FOLDER`: a graph made elsewhere becomes a registered version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import InvalidInput
from ...core.values import Json
from ...registry import Draft, Lineage, Registry
from ...serving import Layout
from .office import DONE, Options, opened, operator, run, show

ABOUT, CARD = "model.json", "card.md"


class About(msgspec.Struct, forbid_unknown_fields=True):
    """The file `model.json`: what is registered besides the graphs. `rungs` names their files."""

    model: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    tensors: Layout
    rungs: dict[str, str]
    lineage: Lineage
    metrics: dict[str, float] = {}
    parameters: dict[str, Any] = {}


def draft_of(folder: Path) -> tuple[Draft, Mapping[str, bytes]]:
    """What the folder holds, ready to be registered. Raises InvalidInput."""
    try:
        about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
        files = {name: (folder / name).read_bytes() for name in sorted(set(about.rungs.values()))}
        card = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).is_file() else ""
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read: {error.strerror}: {error.filename}") from error
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"{folder / ABOUT} does not describe a model: {error}") from error
    if "primary" not in about.rungs:
        raise InvalidInput(f"{folder / ABOUT} names no file for the rung `primary`")
    metadata: Mapping[str, Json] = {"tensors": msgspec.to_builtins(about.tensors), "rungs": dict(about.rungs)}
    draft = Draft(
        model=about.model,
        format="onnx",
        input_schema=about.input_schema,
        output_schema=about.output_schema,
        metrics=about.metrics,
        parameters=about.parameters,
        metadata=metadata,
        lineage=about.lineage,
        weights_sha256=hashlib.sha256(files[about.rungs["primary"]]).hexdigest(),
        card=card,
    )
    return draft, files


def registered(folder: Path, *, data: Path, json: bool) -> int:
    """Register the folder's model and print its version."""
    options = Options(data=data, json=json)

    async def whole() -> int:
        draft, files = draft_of(folder)
        async with opened(options, only=("registry",)) as house:
            registry = house.door(Registry)
            version = await registry.register(operator(house.settings.tenant), draft, files)
        show(options, asdict(version), lambda: f"{version.model} {version.version} is registered")
        return DONE

    return run(options, whole)
