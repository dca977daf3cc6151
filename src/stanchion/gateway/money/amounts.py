"""Dollars as people write them, and picodollars as they are counted: exact, never through a float."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

from ...core.errors import FieldProblem, InvalidInput

PICO = 10**12
MOST = 9_000_000 * PICO  # a 64-bit integer holds 9.2 million dollars
MOST_CALL = PICO * 100_000
_MILLION = 10**6
_TEXT = re.compile(r"\d{1,7}(\.\d{1,12})?")


def picodollars(text: str, path: str) -> int:
    """Dollars in decimal text as picodollars. Raises InvalidInput for what is no amount of 0 to 9,000,000 dollars."""
    value = int(Decimal(text) * PICO) if isinstance(text, str) and _TEXT.fullmatch(text) else -1
    if not 0 <= value <= MOST:
        problem = FieldProblem(path, 'is dollars as decimal text from "0" to "9000000", with at most 12 decimals')
        raise InvalidInput(f"{path} is no amount of money: {text!r}", fields=[problem])
    return value


def dollars(amount: int) -> str:
    """Picodollars as decimal text in dollars, exactly: "0.000000150000"."""
    sign, whole = ("-" if amount < 0 else ""), abs(amount)
    return f"{sign}{whole // PICO}.{whole % PICO:012d}"


def per_token(for_a_million: Decimal) -> int:
    """Picodollars for one token, rounded up, of dollars for a million."""
    return int((for_a_million * (PICO // _MILLION)).to_integral_value(ROUND_CEILING))
