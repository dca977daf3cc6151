"""Where in a text personal data and secrets stand, by their form and their check digits.

Sources: ISO/IEC 7812-1 (cards), ISO 13616 (IBAN), ITU-T E.164 (telephone numbers, by libphonenumber's rules), RFC 4291.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

_START, _END = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"
_EMAIL = re.compile(r"[^\s/@<>\"'(),:;=\[\]\\]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_NUMBER = re.compile(rf"{_START}[0-9](?:[ -]?[0-9]){{12,40}}{_END}")
_IBAN = re.compile(rf"{_START}[A-Za-z]{{2}}[0-9]{{2}}(?: ?[0-9A-Za-z]){{11,40}}{_END}")
_SSN = re.compile(r"(?<![0-9A-Za-z-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![0-9A-Za-z-])")
_IPV4 = re.compile(r"(?<![0-9A-Za-z.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9])")
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z:])")
_PHONE = re.compile(r"(?<![0-9A-Za-z.])(?:\+ ?|\(?[0-9])[0-9](?:(?:[ ().-]{0,2}|/)[0-9]){5,60}(?![0-9A-Za-z])")
_DIGITS = re.compile(r"(?:\+ ?|\()?[0-9]+")
_GROUPS = 7
_DATE = re.compile(
    r"(?:[12][0-9]{3}[-./ ][01]?[0-9][-./ ][0-3]?[0-9]|[0-3]?[0-9][-./ ][0-3]?[0-9][-./ ][12][0-9]{3})(?: .*)?"
)
_BARE = 11  # digits: longer ones without any separator are times and ids
_SECRET = re.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]{0,20000}?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)",
            rf"{_START}st_[0-9A-Za-z]{{4,}}_[0-9A-Za-z_]{{8,}}",
            rf"{_START}(?:sk-[\w-]{{16,}}|A(?:KI|SI)A[0-9A-Z]{{16}}|gh[opsru]_\w{{20,}}|github_pat_\w{{20,}})",
            rf"{_START}(?:xox[abeprs]-[\w-]{{10,}}|AIza[\w-]{{35}}|glpat-[\w-]{{20,}}|hf_[0-9A-Za-z]{{20,}})",
            r"eyJ[\w-]{4,}\.eyJ[\w-]{4,}\.[\w-]*",
            r"(?<=://)[^\s/@:]{1,100}:[^\s/@]{1,100}(?=@)",
        )
    )
)
_NAMED = re.compile(
    r"(?i)(?:password|passwd|passphrase|secret|api[_-]?key|private[_-]?key|access[_-]?key)s?\\?[\"']?\s{0,5}(?:[:=]|is)"
    r"\s{0,5}\\?[\"']?(?P<value>(?:[^\s\"',;&)}\]\\]|\\(?![\"'])){8,200})"
)
_TELLING = re.compile(r"[0-9]|[A-Za-z0-9][^A-Za-z0-9\s.][A-Za-z0-9]")


class Span(NamedTuple):
    """A stretch of text that is of a kind: `text[start:end]`."""

    kind: str
    start: int
    end: int


Recogniser = Callable[[str], Iterator[Span]]


def emails(text: str) -> Iterator[Span]:
    """Addresses of electronic mail."""
    if "@" in text:
        yield from (Span("email", match.start(), match.end()) for match in _EMAIL.finditer(text))


def cards(text: str) -> Iterator[Span]:
    """Numbers of payment cards, grouped or not."""
    from stdnum import luhn

    def is_card(number: str) -> bool:
        return 13 <= len(number) <= 19 and number[0] in "23456" and bool(luhn.is_valid(number))

    yield from _grouped(text, _NUMBER, "card", is_card)


def ibans(text: str) -> Iterator[Span]:
    """Account numbers, grouped or not."""
    from stdnum import iban

    yield from _grouped(text, _IBAN, "iban", lambda number: 15 <= len(number) <= 34 and bool(iban.is_valid(number)))


def social_security(text: str) -> Iterator[Span]:
    """United States social security numbers with their dashes."""
    from stdnum.us import ssn

    yield from (Span("ssn", m.start(), m.end()) for m in _SSN.finditer(text) if ssn.is_valid(m[0]))


def addresses(text: str) -> Iterator[Span]:
    """IPv4 and IPv6 addresses."""
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            try:
                found = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            if not found.is_unspecified:
                yield Span("ip", match.start(), match.end())


def phones(regions: Sequence[str]) -> Recogniser:
    """Telephone numbers: international ones, and those of the regions without a country code."""

    def valid(number: str) -> bool:
        if (number.isdecimal() and len(number) > _BARE) or _DATE.fullmatch(number):
            return False
        return any(_is_phone(number, region) for region in ((None,) if number.startswith("+") else regions))

    def find(text: str) -> Iterator[Span]:
        for match in _PHONE.finditer(text):
            groups = [(part.start(), part.end()) for part in _DIGITS.finditer(match[0])]
            first = 0
            while first < len(groups):
                last = _longest(match[0], groups, first, valid)
                if last is not None:
                    yield Span("phone", match.start() + groups[first][0], match.start() + groups[last][1])
                    first = last
                first += 1

    return find


def _longest(text: str, groups: Sequence[tuple[int, int]], first: int, valid: Callable[[str], bool]) -> int | None:
    """The last group of the longest number that begins with group `first`. What follows may be another number."""
    start = groups[first][0]
    if start and text[start] != "+" and text[start - 1] != " ":
        return None  # `148410-0` of `978-3-16-148410-0` is no number of its own
    for last in range(min(len(groups), first + _GROUPS) - 1, first - 1, -1):
        number = text[start : groups[last][1]]
        if 7 <= sum(map(str.isdecimal, number)) <= 15 and valid(number):
            return last
    return None


def _is_phone(number: str, region: str | None) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False


def secrets(text: str) -> Iterator[Span]:
    """Keys, tokens, private keys, passwords in addresses, and what follows a telling name."""
    yield from (Span("secret", match.start(), match.end()) for match in _SECRET.finditer(text))
    for match in _NAMED.finditer(text):
        # `the password is required` holds none: a value has a digit or a sign among its letters.
        if _TELLING.search(match["value"]):
            yield Span("secret", match.start("value"), match.end("value"))


def pattern(kind: str, expression: str) -> Recogniser:
    """What a regular expression of one's own finds."""
    compiled = re.compile(expression)

    def find(text: str) -> Iterator[Span]:
        yield from (Span(kind, m.start(), m.end()) for m in compiled.finditer(text) if m.end() > m.start())

    return find


def _grouped(text: str, shape: re.Pattern[str], kind: str, valid: Callable[[str], bool]) -> Iterator[Span]:
    """Every stretch of groups that is one. What stands before or after it often looks like more of the same."""
    for match in shape.finditer(text):
        groups = [(part.start(), part.end()) for part in re.finditer(r"[0-9A-Za-z]+", match[0])]
        first = 0
        while first < len(groups):
            last = _last(match[0], groups, first, valid)
            if last is None:
                first += 1
                continue
            yield Span(kind, match.start() + groups[first][0], match.start() + groups[last][1])
            first = last + 1


def _last(text: str, groups: Sequence[tuple[int, int]], first: int, valid: Callable[[str], bool]) -> int | None:
    for last in range(len(groups) - 1, first - 1, -1):
        if valid("".join(text[start:end] for start, end in groups[first : last + 1])):
            return last
    return None
