from __future__ import annotations

import io
import json
import logging
import secrets
from collections.abc import Callable, Iterator

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from stanchion.core.context import Context
from stanchion.core.errors import Unavailable
from stanchion.core.redaction import redact
from stanchion.core.security.keyformat import new_key
from stanchion.core.telemetry.logs import about, configure_logging

_B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
tokens = st.text(alphabet=_B64, min_size=12, max_size=60)
digits = st.text(alphabet="0123456789", min_size=14, max_size=14)


def luhn(number: str) -> str:
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(number)))
    return number + str(-total % 10)


def iban(country: str, rest: str) -> str:
    check = 98 - int("".join(str(int(c, 36)) for c in rest + country + "00")) % 97
    return f"{country}{check:02d}{rest}"


def grouped(text: str, by: str) -> str:
    return by.join(text[i : i + 4] for i in range(0, len(text), 4))


cards = st.builds(luhn, st.sampled_from("23456").flatmap(lambda first: digits.map(lambda rest: first + rest)))
ibans = st.builds(
    iban, st.sampled_from(["DE", "FR", "NL", "GB"]), st.text(alphabet="0123456789", min_size=18, max_size=18)
)
SECRETS = st.one_of(
    st.builds(lambda _: new_key().secret, st.none()).map(lambda key: (key, key)),
    st.builds(lambda a, b, c: f"eyJ{a}.{b}.{c}", tokens, tokens, tokens).map(lambda jwt: (jwt, jwt)),
    tokens.map(lambda t: (f"Bearer {t}", t)),
    tokens.map(lambda t: (f"authorization: Basic {t}", t)),
    tokens.map(lambda t: (f"-----BEGIN PRIVATE KEY-----\n{t}\n{t}\n-----END PRIVATE KEY-----", t)),
    tokens.map(lambda t: (f"-----BEGIN EC PRIVATE KEY-----\n{t}", t)),
    tokens.map(lambda t: (f"password={t}", t)),
    tokens.map(lambda t: (f"'client_secret': '{t} {t}'", t)),
    tokens.map(lambda t: (f'{{"api_key": "{t}"}}', t)),
    tokens.map(lambda t: (f"postgresql://user:{t}@db.internal/x", t)),
    cards.map(lambda n: (n, n)),
    cards.map(lambda n: (grouped(n, " "), grouped(n, " "))),
    cards.map(lambda n: (grouped(n, "-"), grouped(n, "-"))),
    ibans.map(lambda n: (n, n)),
    ibans.map(lambda n: (grouped(n, " "), grouped(n, " "))),
    st.builds(lambda name: f"{name}@example.co.uk", st.text("abcdefgXYZ.+_0", min_size=3, max_size=20)).map(
        lambda m: (m, m)
    ),
    st.builds(
        lambda a, b, c: f"{a:03d}-{b:02d}-{c:04d}", st.integers(1, 665), st.integers(1, 99), st.integers(1, 9999)
    ).map(lambda n: (n, n)),
)
around = st.text(st.characters(codec="utf-8"), max_size=40)
spaces = st.sampled_from([" ", "\n", ", ", ": ", " (", "\t"])


@given(SECRETS, around, around, spaces, spaces)
def test_a_secret_does_not_survive_whatever_stands_around_it(
    secret: tuple[str, str], before: str, after: str, left: str, right: str
) -> None:
    text, hidden = secret
    assume(hidden not in before and hidden not in after)
    assert hidden not in redact(f"{before}{left}{text}{right}{after}")


@pytest.mark.parametrize(
    "text",
    [
        "started at 1700000000000000 with 4096 rows",
        "POST /v1/predictions 200 in 3.2 ms",
        "trace 0af7651916cd43dd8448eb211c80319c span b7ad6b7169203331",
        "test_something_with_a_long_name failed at 2026-05-04 12:00:00",
        "model churn@production 2.1.3, customer 12345",
        "stat st_mtime_ns differs",
        "DE00 1234 5678 9012 3456 78 is no account",
        "card 4111 1111 1111 1112 does not pass",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_each_kind_is_named_where_it_stood() -> None:
    assert redact("to a@b.io from 4111 1111 1111 1111.") == "to [redacted:email] from [redacted:card]."
    assert redact("pay DE89 3704 0044 0532 0130 00 at once") == "pay [redacted:iban] at once"
    assert redact("ssn 078-05-1120") == "ssn [redacted:ssn]"


def test_long_hostile_text_is_redacted_in_bounded_time() -> None:
    for hostile in ("a" * 10**6, "a@" * 10**5, "1 " * 10**5, "eyJ" * 10**5, "-----BEGIN " * 10**4, "DE12 " * 10**5):
        assert len(redact(hostile)) < 200_000


@pytest.fixture(params=[True, False], ids=["json", "text"])
def begin(request: pytest.FixtureRequest) -> Iterator[Callable[[], io.StringIO]]:
    """Called inside the test, as pytest adds handlers of its own just before it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def start() -> io.StringIO:
        stream = io.StringIO()
        configure_logging(json=request.param, level="debug", stream=stream)
        return stream

    yield start
    root.handlers[:], root.level = handlers, level


def fail(argument: str) -> None:
    local = argument
    raise ValueError(f"cannot use {local}")


def test_no_handler_output_holds_a_secret_not_even_a_traceback(begin: Callable[[], io.StringIO]) -> None:
    output = begin()

    @given(SECRETS)
    @example(("st_" + "a" * 12 + "_" + "b" * 43 + "_" + "c" * 6, "b" * 43))
    def check(secret: tuple[str, str]) -> None:
        text, hidden = secret
        output.seek(0)
        output.truncate()
        log = logging.getLogger("uvicorn.error")
        log.warning("got %s", text)
        log.warning("got %s", {"input": text, "more": [text]})
        log.warning(text, extra={"tenant": text, "code": text})
        log.warning("wrong %d format", text)
        try:
            fail(text)
        except ValueError as error:
            error.add_note(f"a note on {text}")
            log.exception("failed on %s", text, stack_info=True)
            cause = error
        try:
            raise RuntimeError("outer") from cause
        except RuntimeError:
            log.exception("chained")
        written = output.getvalue()
        assert written.count("Traceback") >= 2
        assert hidden not in written
        assert hidden not in written.replace("\\n", "\n").replace('\\"', '"')

    check()


def test_a_traceback_holds_neither_local_values_nor_the_words_of_a_foreign_error(
    begin: Callable[[], io.StringIO],
) -> None:
    output = begin()
    canary = secrets.token_hex(4)
    try:
        try:
            fail(canary)
        except ValueError as error:
            raise Unavailable("our own words") from ExceptionGroup("", [error, OSError(28, "No space left on device")])
    except Unavailable:
        logging.getLogger("x").exception("failed")
    written = output.getvalue()
    assert canary not in written
    for part in ("Unavailable: our own words", "ValueError", "OSError: No space left on device", "in fail"):
        assert part in written


def test_a_line_names_the_call_it_belongs_to(begin: Callable[[], io.StringIO]) -> None:
    output = begin()
    ctx = Context(tenant="acme", principal="key:1")
    logging.getLogger("x").error("failed", extra=about(ctx, "unavailable"))
    line = output.getvalue()
    assert line.count("\n") == 1
    assert all(part in line for part in ("acme", ctx.request_id, ctx.trace.trace_id, "unavailable"))
    if line.startswith("{"):
        assert json.loads(line)["code"] == "unavailable"


def test_text_cannot_forge_another_line(begin: Callable[[], io.StringIO]) -> None:
    output = begin()
    logging.getLogger("x").error("first\n12:00 CRITICAL root: forged\x1b[2J\u2028x", extra={"tenant": "a\nb"})
    assert len(output.getvalue().splitlines()) == 1
    assert "\x1b" not in output.getvalue()


def test_a_wrong_format_string_loses_no_line(
    begin: Callable[[], io.StringIO], capsys: pytest.CaptureFixture[str]
) -> None:
    output = begin()
    logging.getLogger("x").error("%d rows", "canary")
    assert "rows" in output.getvalue() and "canary" not in output.getvalue()
    assert "canary" not in capsys.readouterr().err
