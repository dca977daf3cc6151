"""Notices go out at least once, again after a failure, and hold nothing of an item's content."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from stanchion.core.errors import Misconfigured, Unavailable
from stanchion.review import SLAS, ReviewSpec
from stanchion.review.backends.chat import ChatNotifier
from stanchion.review.backends.notifiers import FileNotifier, SmtpNotifier, SmtpServer
from stanchion.review.ports import Notice, Notifier
from stanchion.testing.clock import FakeClock
from stanchion.testing.review_cases import AUTHOR, draft

SPEC = ReviewSpec("plain", notify=("desk@example.com", "boss@example.com"), notify_on=("opened", "warned", "expired"))


class Failing(Notifier):
    """Fails so many times, then takes what comes."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.taken: list[Notice] = []

    async def send(self, notice: Notice) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("not now")
        self.taken.append(notice)


async def test_each_address_is_told_once_of_what_it_wants_to_hear(opens: Any, clock: FakeClock) -> None:
    notifier = Failing(0)
    async with opens(SPEC, notifier=notifier, link="https://example.com/review/{item}") as reviews:
        [found] = await reviews.open(AUTHOR, [draft(title="A loan")])
        for seconds in (0, SLAS["normal"].warn + 1, SLAS["normal"].escalate, SLAS["normal"].expire):
            clock.advance(seconds)
            await reviews.clock.tick()
            await reviews.clock.tick()
    told = [(notice.to, notice.subject.rsplit(" ", 1)[1]) for notice in notifier.taken]
    assert sorted(told) == sorted((to, kind) for to in SPEC.notify for kind in ("opened", "warned", "expired"))
    assert all(f"https://example.com/review/{found.item.id}" in notice.text for notice in notifier.taken)
    whole = json.dumps([notice.text + notice.subject for notice in notifier.taken])
    assert "Lovelace" not in whole and "income" not in whole


async def test_a_notice_that_failed_is_sent_again_later_and_in_the_end_given_up(opens: Any, clock: FakeClock) -> None:
    spec = ReviewSpec("plain", notify=("desk@example.com",), notify_on=("opened",))
    notifier = Failing(2)
    async with opens(spec, notifier=notifier) as reviews:
        await reviews.open(AUTHOR, [draft()])
        for _ in range(4):
            await reviews.clock.tick()
            clock.advance(1_000)
        assert len(notifier.taken) == 1
        notifier.failures = 100
        await reviews.open(AUTHOR, [draft()])
        for _ in range(20):
            await reviews.clock.tick()
            clock.advance(30_000)
        assert notifier.failures == 92 and len(notifier.taken) == 1


async def test_a_file_takes_one_line_a_notice(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "deep" / "notices.jsonl"
    notifier = FileNotifier(path)
    for number in range(3):
        await notifier.send(Notice(str(number), "desk", "subject", "text", clock.now()))
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["0", "1", "2"]
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Unavailable):
        await FileNotifier(tmp_path).send(Notice("1", "desk", "s", "t", clock.now()))


async def test_a_mail_reaches_the_server(clock: FakeClock) -> None:
    """A server of a few lines that speaks enough SMTP (RFC 5321)."""
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        body = False
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            heard.append(line)
            word = line[:4].upper()
            writer.write(b"354 go on\r\n" if word == "DATA" else b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
            if word == "DATA":
                body = True
            while body:
                text = (await reader.readline()).decode().rstrip("\r\n")
                heard.append(text)
                if text == ".":
                    body = False
                    writer.write(b"250 taken\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    notifier = SmtpNotifier(SmtpServer("127.0.0.1", port, "stanchion@example.com", starttls=False))
    await notifier.send(Notice("n1", "desk@example.com", "Review loans: was warned", "Look at it.\n", clock.now()))
    server.close()
    assert "To: desk@example.com" in heard and "Subject: Review loans: was warned" in heard and "Look at it." in heard
    strict = SmtpNotifier(SmtpServer("127.0.0.1", port, "stanchion@example.com"))
    with pytest.raises(Unavailable):
        await strict.send(Notice("n2", "desk@example.com", "s", "t", clock.now()))


async def test_a_chat_room_is_written_to_and_its_address_is_kept_secret(clock: FakeClock) -> None:
    heard: list[Any] = []
    statuses = [200, 500, 302]

    async def room(request: web.Request) -> web.Response:
        heard.append(await request.json())
        return web.Response(status=statuses.pop(0), headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_post("/hooks/s3cret", room)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    notice = Notice("n1", "@desk", "Review loans: was warned", "Review loans: was warned.\nLook at it.\n", clock.now())

    async def address() -> str:
        return f"http://127.0.0.1:{port}/hooks/s3cret"

    notifier = ChatNotifier(address)
    await notifier.send(notice)
    assert heard == [{"text": "@desk Review loans: was warned.\nLook at it."}]
    for _ in range(2):
        with pytest.raises(Unavailable, match="status"):
            await notifier.send(notice)
    await runner.cleanup()
    with pytest.raises(Unavailable) as failed:
        await notifier.send(notice)
    assert "s3cret" not in str(failed.value) and failed.value.__cause__ is None
    assert len(heard) == 3, "a redirect is not followed"


@pytest.mark.parametrize("url", ["http://chat.example.com/x", "ftp://localhost/x", "", "https://"])
async def test_no_notice_goes_over_the_network_in_the_clear(url: str, clock: FakeClock) -> None:
    async def address() -> str:
        return url

    with pytest.raises(Misconfigured):
        await ChatNotifier(address).send(Notice("n1", "", "s", "t", clock.now()))
