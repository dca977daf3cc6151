"""The lineage of a feature service up to the model versions that were made with it: features and registry together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..core.context import Context
from ..core.errors import NotFound
from ..features import Lineage, Node
from ..registry import Registry

_MODELS = 100
_VERSIONS = 20


@dataclass(frozen=True, slots=True)
class Pinned:
    """A model version that names a feature service in its metadata, and the fingerprint it was made with."""

    model: str
    version: str
    stage: str
    service: str
    fingerprint: str


async def pinned(registry: Registry | None, ctx: Context) -> Sequence[Pinned]:
    """The versions that pin feature services, by model, newest first: of 100 models the newest 20 versions each."""
    if registry is None:
        return ()
    found: list[Pinned] = []
    for model in await registry.models(ctx, limit=_MODELS):
        try:
            versions = await registry.versions(ctx, model.model, limit=_VERSIONS)
        except NotFound:  # removed meanwhile
            continue
        for version in versions:
            held = version.metadata.get("features")
            if isinstance(held, Mapping) and isinstance(held.get("service"), str):
                service, fingerprint = str(held["service"]), str(held.get("fingerprint", ""))
                found.append(Pinned(model.model, version.version, version.stage, service, fingerprint))
    return found


def with_models(lineage: Lineage, pins: Sequence[Pinned]) -> Lineage:
    """The lineage with the versions that pin its service behind it; their detail says if the fingerprint differs."""
    nodes, edges = list(lineage.nodes), list(lineage.edges)
    for pin in pins:
        if pin.service != lineage.service:
            continue
        same = pin.fingerprint == lineage.fingerprint
        detail = pin.stage if same else f"{pin.stage}, made with the definitions of {pin.fingerprint}"
        node = Node(f"model:{pin.model} {pin.version}", "model", f"{pin.model} {pin.version}", detail)
        nodes.append(node)
        edges.append((f"service:{lineage.service}", node.id))
    return replace(lineage, nodes=tuple(nodes), edges=tuple(edges))
