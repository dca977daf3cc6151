"""Callers and drafts for tests of the registry, and the short ways to promote and to watch."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping

from stanchion.core.context import Context, Rights
from stanchion.core.values import Json
from stanchion.registry import Change, Draft, Lineage, Registry, Stage

FILES = {"model.onnx": b"weights and all", "bands.json": b"{}"}


def caller(principal: str = "ada", tenant: str = "t1") -> Context:
    """A caller with every right."""
    return Context(tenant=tenant, principal=principal, rights=Rights(frozenset({"admin"}), frozenset({"*"})))


ADA, BOB, STRANGER = caller("ada"), caller("bob"), caller("eve", "t2")


def sha(text: str) -> str:
    """The SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def draft(
    model: str = "churn",
    *,
    weights: str = "w1",
    field: str = "tenure",
    title: str = "",
    note: str = "",
    parent: str | None = None,
) -> Draft:
    """A draft; another `weights` is another training, `field` another interface, `note` another packaging."""
    schema: Mapping[str, Json] = {
        "type": "object",
        "title": title,
        "properties": {field: {"type": "integer", "minimum": 0, "description": title}},
        "required": [field],
    }
    return Draft(
        model=model,
        format="onnx",
        input_schema=schema,
        output_schema={"type": "object", "properties": {"probability": {"type": "number"}}},
        metrics={"roc_auc": 0.84, "brier": 0.13},
        parameters={"depth": 3, "rates": [0.1, 0.2], "note": None},
        metadata={"bands": {"low": 0, "high": 0.7}, "note": note},
        lineage=Lineage(sha("data"), 7043, "generated", "git:abc", parent=parent, seed=7),
        weights_sha256=sha(weights),
        card="# Churn\n\nNot for ünïcode \N{SNOWMAN}.",
    )


async def promoted(registry: Registry, version: str, *stages: Stage, model: str = "churn") -> None:
    """Take a version through stages, with a second person where one is needed."""
    for stage in stages:
        asked = await registry.promote(ADA, model, version, to=stage, evidence="AUC .84 against .81 on May's rows")
        if asked.status == "pending":
            await registry.promote(BOB, model, version, to=stage)


async def first_changes(stream: AsyncIterator[Change], count: int) -> list[Change]:
    """The next changes of a watch, which is then closed."""
    found: list[Change] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found.append(await anext(stream))
    return found
