"""Where notices go: nowhere, a file of JSON lines, or e-mail by SMTP. None of them sees an item's content."""

from __future__ import annotations

import asyncio
import os
import smtplib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import msgspec

from ...core.errors import Unavailable
from ..ports import Notice, Notifier


class NoNotifier(Notifier):
    """Drops every notice: no channel is configured."""

    async def send(self, notice: Notice) -> None:
        pass


class FileNotifier(Notifier):
    """Appends each notice to a file, one JSON document a line, for a program that hands them on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def send(self, notice: Notice) -> None:
        await asyncio.to_thread(self._append, msgspec.json.encode(notice) + b"\n")

    def _append(self, line: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)
        except OSError as error:
            raise Unavailable(f"the file of notices cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """The configured server. Where `starttls` is set and the server cannot, nothing is sent in the clear."""

    host: str
    port: int
    sender: str
    starttls: bool = True
    user: str = ""
    seconds: float = 20.0


class SmtpNotifier(Notifier):
    """Sends each notice as a plain-text mail, in a thread. `password` is asked for each time."""

    def __init__(self, server: SmtpServer, password: Callable[[], Awaitable[str]] | None = None) -> None:
        self._server = server
        self._password = password

    async def send(self, notice: Notice) -> None:
        password = await self._password() if self._password is not None else ""
        try:
            await asyncio.to_thread(self._send, _mail(self._server.sender, notice), password)
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable(f"the mail server did not take a notice: {type(error).__name__}") from error

    def _send(self, mail: EmailMessage, password: str) -> None:
        server = self._server
        # Named, as the library would ask the network for this machine's name otherwise.
        own = server.sender.rpartition("@")[2]
        with smtplib.SMTP(server.host, server.port, local_hostname=own, timeout=server.seconds) as link:
            if server.starttls:
                link.starttls(context=ssl.create_default_context())
            if server.user:
                link.login(server.user, password)
            link.send_message(mail)


def _mail(sender: str, notice: Notice) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, notice.to, notice.subject
    # The same notice sent twice is recognised by its id.
    mail["Message-ID"] = f"<{notice.id}@stanchion.review>"
    mail.set_content(notice.text)
    return mail
