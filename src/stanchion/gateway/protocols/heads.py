"""The headers that tell who answered, and at what cost."""

from __future__ import annotations

from typing import NamedTuple

from ..contract.calls import Account, Reply

Headers = list[tuple[bytes, bytes]]
_PICO = 10**12
_KEPT = 1_000


class _Kept(NamedTuple):
    account: Account
    headers: Headers


class Heads:
    """The heads of whole answers. An answer that is given again has one account, whose headers are made once."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def whole(self, reply: Reply) -> Headers:
        """The head of a whole answer."""
        account = reply.account
        kept = self._kept.get(id(account))
        # What is kept lives on, so no other account can have its id.
        told = self._made(account) if kept is None else kept.headers
        # The length is the body's alone: words that were turned back differ between answers of one account.
        return [(b"content-length", b"%d" % len(reply.body)), *told]

    def _made(self, account: Account) -> Headers:
        made = [
            (b"content-type", b"application/json"),
            *headers(account),
            (b"x-stanchion-cost-usd", _dollars(account.cost)),
        ]
        if account.cache == "hit" and not account.flags:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[id(account)] = _Kept(account, made)
        return made


def headers(account: Account) -> Headers:
    """Who answered; nothing of what is not known."""
    told = {
        b"x-stanchion-upstream": account.upstream,
        b"x-stanchion-model": account.model,
        b"x-stanchion-rung": account.rung,
        b"x-stanchion-route": account.route,
        b"x-stanchion-cache": account.cache,
        b"x-stanchion-flags": ",".join(account.flags),
    }
    return [(name, value.encode("latin-1", "replace")) for name, value in told.items() if value]


def _dollars(cost: int) -> bytes:
    return b"%d.%012d" % divmod(cost, _PICO)
