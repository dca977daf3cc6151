"""The manifest: all of a version that never changes, as one canonical JSON document that is digested and signed.

The tenant, the model and the number stand in it, so that a stored row cannot pass for another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from ..core.errors import InvalidInput, NotTrustworthy, PayloadTooLarge
from .contract import Draft, File, Lineage, ModelVersion
from .ports import VersionRow

MANIFEST_BYTES = 8 << 20
_KIND = "stanchion.registry.manifest/1"


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8; floats as their shortest round-trip form.

    Raises ValueError for what JSON cannot express: NaN, infinity, lone surrogates, too deep a nesting.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not expressible in JSON: {error}") from error
    return text.encode()


def digest(content: bytes) -> str:
    """SHA-256 as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def package_digest(draft: Draft, files: Sequence[File]) -> str:
    """What makes two drafts the very same package: everything in them but the parent.

    A training that was killed after it had registered names another parent when it runs again.
    """
    return digest(_encoded(_body(replace(draft, lineage=replace(draft.lineage, parent=None)), files)))


def manifest_of(
    tenant: str, draft: Draft, files: Sequence[File], *, version: str, at: datetime, principal: str
) -> bytes:
    """The canonical bytes of a version. Raises InvalidInput, PayloadTooLarge (8 MiB)."""
    encoded = _encoded(
        {
            "kind": _KIND,
            "tenant": tenant,
            "version": version,
            "created_at": at.isoformat(timespec="microseconds"),
            "created_by": principal,
            **_body(draft, files),
        }
    )
    if len(encoded) > MANIFEST_BYTES:
        raise PayloadTooLarge(f"a version's description has {len(encoded)} bytes; the limit is {MANIFEST_BYTES}")
    return encoded


def read_manifest(tenant: str, row: VersionRow) -> ModelVersion:
    """The version that a row with a checked signature holds. Raises NotTrustworthy if it is another row's manifest."""
    document: Mapping[str, Any] = json.loads(row.manifest)
    told = [document.get(key) for key in ("kind", "tenant", "model", "version")]
    if told != [_KIND, tenant, row.model, row.version]:
        raise NotTrustworthy(f"the record of {row.model} {row.version} holds the manifest of something else")
    return ModelVersion(
        model=row.model,
        version=row.version,
        stage=row.stage,
        aliases=tuple(row.aliases),
        format=document["format"],
        input_schema=document["input_schema"],
        output_schema=document["output_schema"],
        metrics=document["metrics"],
        parameters=document["parameters"],
        metadata=document["metadata"],
        lineage=Lineage(**document["lineage"]),
        weights_sha256=document["weights_sha256"],
        card=document["card"],
        files=tuple(File(**file) for file in document["files"]),
        created_at=datetime.fromisoformat(document["created_at"]),
        created_by=document["created_by"],
        manifest_sha256=row.manifest_sha256,
        signature=row.signature,
        key_id=row.key_id,
    )


def _body(draft: Draft, files: Sequence[File]) -> dict[str, object]:
    return {
        "model": draft.model,
        "format": draft.format,
        "input_schema": dict(draft.input_schema),
        "output_schema": dict(draft.output_schema),
        "metrics": {name: float(value) for name, value in draft.metrics.items()},
        "parameters": dict(draft.parameters),
        "metadata": dict(draft.metadata),
        "lineage": asdict(draft.lineage),
        "weights_sha256": draft.weights_sha256,
        "card": draft.card,
        "files": [asdict(file) for file in files],
    }


def _encoded(document: dict[str, object]) -> bytes:
    try:
        return canonical(document)
    except ValueError as error:
        raise InvalidInput(f"the draft cannot be stored as JSON: {error}") from error
