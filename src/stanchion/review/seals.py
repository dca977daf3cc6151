"""Texts of items, sealed with the tenant's key before they reach the store."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from ..core.errors import NotFound, NotTrustworthy
from ..core.security.vault import Vault
from ..core.values import Json
from .canonical import canonical
from .ports import Records, Store


class Sealed(NamedTuple):
    """A text on its way to the store, under its new id."""

    id: str
    body: bytes

    def keep(self, records: Records, item: str) -> None:
        """Store it as one of an item's."""
        records.put_text(self.id, item, self.body)


class Seals:
    """Seals and opens the texts of all tenants."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def seal(self, tenant: str, value: Json) -> Sealed:
        """The value, sealed. Raises InvalidInput if it is no JSON that every reader reads alike."""
        name = secrets.token_hex(12)
        return Sealed(name, await self._vault.encrypt(tenant, f"review/{name}", canonical(value)))

    async def read(self, tenant: str, wanted: Iterable[str]) -> Mapping[str, Any]:
        """The texts of these ids. Raises NotTrustworthy if one is gone or was changed."""
        names = list(dict.fromkeys(name for name in wanted if name))
        if not names:
            return {}
        found = await self._store.read(tenant, lambda records: records.texts(names))
        opened: dict[str, Any] = {}
        for name in names:
            if name not in found:
                raise NotTrustworthy(f"the text {name} of an item under review is gone")
            opened[name] = msgspec.json.decode(await self._vault.decrypt(tenant, f"review/{name}", found[name]))
        return opened

    async def readable(self, tenant: str, wanted: Sequence[str]) -> Mapping[str, Any]:
        """The texts that can be opened. One that is gone or was changed, or whose key was destroyed, shows nothing."""
        found = await self._store.read(tenant, lambda records: records.texts(wanted))
        opened: dict[str, Any] = {}
        for name, sealed in found.items():
            with suppress(NotFound, NotTrustworthy):
                opened[name] = msgspec.json.decode(await self._vault.decrypt(tenant, f"review/{name}", sealed))
        return opened
