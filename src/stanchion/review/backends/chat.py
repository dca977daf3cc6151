"""Notices in a chat room, through an incoming webhook of the room: JSON with one text, by POST.

That form is common to Slack, Mattermost, Rocket.Chat and Google Chat. The webhook's address is all that is needed to
write to the room, so it is a secret: read anew for each notice, and in no error and no log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from ...core.errors import Misconfigured, Unavailable
from ..ports import Notice, Notifier

_SECONDS = 10.0


class ChatNotifier(Notifier):
    """Writes each notice to the room; the address that a queue names in `notify` stands before it, as a mention.

    `address` gives the webhook's URL. Raises Misconfigured for one that would go over the network in the clear.
    """

    def __init__(self, address: Callable[[], Awaitable[str]], *, seconds: float = _SECONDS) -> None:
        self._address = address
        self._seconds = seconds

    async def send(self, notice: Notice) -> None:
        # Loaded here: a process without a room to write to pays nothing for it.
        import aiohttp

        url = _checked(await self._address())
        timeout = aiohttp.ClientTimeout(total=self._seconds)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.post(url, json={"text": _text(notice)}, allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # The error's own words may hold the address.
            raise Unavailable(f"the chat room did not take a notice: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise Unavailable(f"the chat room did not take a notice: status {status}")


def _text(notice: Notice) -> str:
    return f"{notice.to} {notice.text.rstrip()}" if notice.to else notice.text.rstrip()


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and _here(parts.hostname))):
        return url
    raise Misconfigured("review.chat_url is no https address", next_step="Give the address of the room's webhook.")


def _here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
