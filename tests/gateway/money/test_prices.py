"""What a model costs: exactly, from the table as installed or as declared, and never nothing by omission."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.contract.money import PriceSpec
from stanchion.gateway.money.amounts import dollars, picodollars
from stanchion.gateway.money.prices import PriceTable
from stanchion.testing.clock import FakeClock

CLOCK = FakeClock(datetime(2026, 11, 1, 12, tzinfo=UTC))
COUNT = st.integers(0, 10**7)


def table(*specs: PriceSpec, catalogue: bool = False) -> PriceTable:
    return PriceTable(specs, clock=CLOCK, catalogue=catalogue)


@given(COUNT, COUNT, COUNT, st.decimals("0", "1000", places=6), st.decimals("0", "1000", places=6))
def test_a_cost_is_the_exact_sum_of_tokens_by_price(
    tokens_in: int, tokens_out: int, cached: int, rate_in: Decimal, rate_out: Decimal
) -> None:
    cached = min(cached, tokens_in)
    price = table(PriceSpec("a", "b", input=str(rate_in), output=str(rate_out), cached="0.1")).price("a", "b")
    assert price is not None
    exact = (tokens_in - cached) * rate_in + cached * Decimal("0.1") + tokens_out * rate_out
    assert price.cost(Usage(tokens_in, tokens_out, cached)) == exact * 10**6


def test_an_unknown_model_has_no_price() -> None:
    assert table().price("openai", "gpt-4o-mini") is None
    assert table(catalogue=True).price("openai", "a-model-that-nobody-made") is None
    assert table(catalogue=True).price("a-provider-that-nobody-runs", "gpt-4o-mini") is None


def test_what_is_declared_goes_before_the_table_and_the_first_that_matches_is_taken() -> None:
    prices = table(PriceSpec("OpenAI", "gpt-*", input="1"), PriceSpec("*", "*", input="0"), catalogue=True)
    ours, free = prices.price("openai", "gpt-4o-mini"), prices.price("mistral", "x")
    assert ours is not None and ours.cost(Usage(10, 0)) == 10_000_000
    assert free is not None and free.cost(Usage(10, 10)) == 0


def test_where_one_side_has_no_price_its_tokens_cost_what_the_others_do() -> None:
    price = table(PriceSpec("a", "b", input="1")).price("a", "b")
    assert price is not None
    assert price.cost(Usage(1, 1, cached=1)) == 2_000_000


def test_a_price_for_each_call_is_added() -> None:
    price = table(PriceSpec("a", "rerank", request="0.002")).price("a", "rerank")
    assert price is not None
    assert price.cost(Usage(1_000, 0)) == picodollars("0.002", "$")


def test_the_version_names_the_very_rates() -> None:
    one, same, other = (table(PriceSpec("a", "b", input=rate)).price("a", "b") for rate in ("1", "1.0", "1.1"))
    assert one is not None and same is not None and other is not None
    assert one.version == same.version != other.version


@pytest.mark.parametrize("text", ["", "-1", "1e3", "nan", "1,5", "9000001", "0.0000000000001", " 1", "1 "])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        table(PriceSpec("a", "b", input=text))


def test_a_spec_without_any_price_is_refused() -> None:
    with pytest.raises(InvalidInput):
        table(PriceSpec("a", "b"))


@given(st.integers(0, 9 * 10**18))
def test_dollars_read_back_as_the_same_picodollars(amount: int) -> None:
    assert picodollars(dollars(amount), "$") == amount


MODELS = [
    ("openai", "gpt-4o-mini"),
    ("openai", "text-embedding-3-small"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-pro"),
    ("mistral", "mistral-large-latest"),
    ("deepseek", "deepseek-chat"),
]


@pytest.mark.parametrize(("provider", "model"), MODELS)
@pytest.mark.parametrize("tokens_in", [0, 1, 1000, 200_000, 200_001, 900_000])
def test_the_table_costs_what_its_library_reckons(provider: str, model: str, tokens_in: int) -> None:
    import genai_prices

    usage = Usage(tokens_in, 300, cached=tokens_in // 3)
    theirs = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=tokens_in, output_tokens=300, cache_read_tokens=tokens_in // 3),
        model,
        provider_id=provider,
        genai_request_timestamp=CLOCK.now(),
    ).total_price
    ours = table(catalogue=True).price(provider, model)
    assert ours is not None
    if model == "text-embedding-3-small":  # it makes no tokens; those that are counted all the same cost as input
        theirs += Decimal("0.02") * 300 / 10**6
    assert ours.cost(usage) == int((theirs * 10**12).to_integral_value(ROUND_CEILING))


def test_a_price_that_changes_with_the_time_is_looked_up_again() -> None:
    from genai_prices.data import providers
    from genai_prices.types import StartDateConstraint

    provider, model, start = next(
        (p.id, m.id, c.constraint.start_date)
        for p in providers
        for m in p.models
        if isinstance(m.prices, list)
        for c in m.prices[1:]
        if isinstance(c.constraint, StartDateConstraint) and c.prices != m.prices[0].prices and len(m.prices) == 2
    )
    midnight = datetime(start.year, start.month, start.day, tzinfo=UTC)
    clock = FakeClock(datetime.fromtimestamp(midnight.timestamp() - 1, UTC))
    prices = PriceTable((), clock=clock)
    before = prices.price(provider, model)
    clock.advance(2)
    after = prices.price(provider, model)
    assert before is not None and after is not None
    assert before.version != after.version
