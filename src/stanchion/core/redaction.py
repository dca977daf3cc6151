"""Secrets and personal data are taken out of text before it is written anywhere, whoever put them there.

Patterns, not understanding: they catch what has a known form. Text that holds content is not logged at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_LONGEST = 16_384
_GROUPS = 19
_CARD = re.compile(r"(?<![0-9A-Za-z])[0-9](?:[ -]?[0-9]){12,}(?![0-9A-Za-z])")
_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}[0-9]{2}(?: ?[0-9A-Za-z]){11,}(?![0-9A-Za-z])")
_NAMED = (
    r"(?i)((?:password|passwd|passphrase|pwd|secret|token|pepper|credential|authorization|cookie"
    r"|api[_-]?key|private[_-]?key|access[_-]?key)s?[\"']?\s*[:=]\s*)"
    r"(?:b?\"(?:[^\"\\]|\\.)*\"?|b?'(?:[^'\\]|\\.)*'?|(?:(?:bearer|basic|digest)\s+)?[^\s\"',;&)}\]]+)"
)
_SECRETS = (
    ("pem", r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)"),
    ("key", r"(?<![0-9A-Za-z])st_[0-9A-Za-z]{4,}_[0-9A-Za-z_]{8,}"),
    ("key", r"(?<![0-9A-Za-z])(?:sk-[\w-]{16,}|AKIA[0-9A-Z]{16}|gh[opsru]_\w{20,}|xox[abprs]-[\w-]{10,})"),
    ("jwt", r"eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*"),
    ("bearer", r"(?i)\bbearer\s+(?!\[redacted)[\w.~+/=-]{6,}"),
    ("password", r"(?<=://)[^\s/@]*:[^\s/@]+(?=@)"),
)
_PERSONAL = (
    ("email", r"[^\s/@<>\"'(),:;=\[\]\\]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"),
    # With the plus alone: other long numbers are ids, times and counts.
    ("phone", r"(?<![0-9A-Za-z])\+[1-9](?:[ ().-]{0,2}[0-9]){6,14}(?![0-9A-Za-z])"),
    ("ssn", r"(?<![0-9A-Za-z-])(?!000|666|9[0-9]{2})[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9A-Za-z-])"),
)
_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def redact(text: str) -> str:
    """The text with every known secret and personal datum as `[redacted:kind]`; long text is cut.

    Kinds: pem, key, jwt, bearer, password (credentials in a URL), secret (the value after a telling name), email,
    phone, ssn, iban, card.
    """
    text = text[:_LONGEST]
    for pattern, by in _RULES:
        text = pattern.sub(by, text)
    return text


def _is_card(number: str) -> bool:
    """By length, first digit and the Luhn check (ISO/IEC 7812-1): times and counts are long numbers too."""
    if not 13 <= len(number) <= 19 or number[0] not in "23456":
        return False
    digits = [int(c) for c in reversed(number)]
    return (sum(digits[0::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10 == 0


def _is_iban(text: str) -> bool:
    """By its form and the check of ISO 13616."""
    if not 15 <= len(text) <= 34 or not (text[:2].isalpha() and text[2:4].isdigit()):
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _groups(kind: str, found: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    """Replaces every stretch of groups that is one. What stands before or after it looks like more of the same."""

    def replace(match: re.Match[str]) -> str:
        parts = re.split("([ -])", match[0])  # the groups, and between them what separates them
        kept: list[str] = []
        start = 0
        while start < len(parts):
            last = min(len(parts), start + 2 * _GROUPS - 1)
            end = next((end for end in range(last, start, -2) if found("".join(parts[start:end:2]))), None)
            kept += [parts[start]] if end is None else [f"[redacted:{kind}]"]
            start = start + 1 if end is None else end
            kept += parts[start : start + 1]
            start += 1
        return "".join(kept)

    return replace


_RULES: tuple[_Rule, ...] = (
    *((re.compile(pattern, re.DOTALL), f"[redacted:{kind}]") for kind, pattern in _SECRETS),
    (re.compile(_NAMED), r"\1[redacted:secret]"),
    *((re.compile(pattern), f"[redacted:{kind}]") for kind, pattern in _PERSONAL),
    (_IBAN, _groups("iban", _is_iban)),
    (_CARD, _groups("card", _is_card)),
)
