"""Stock clients through the gateway to a real engine: `transformers serve` with a tiny model that is made here.

It runs where `python benchmarks/rivals/install.py transformers` has put that engine. What the engine says of itself,
asked directly, is what the gateway's answers are held to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from stanchion.gateway import Gateway
from stanchion.system import System
from tests.gateway.engines import ASK, Engine, free_port, installed, made, running

pytestmark = pytest.mark.timeout(600)
USAGE: Any = {"include_usage": True}
IN, OUT = Decimal("0.15"), Decimal("0.60")  # dollars for a million tokens


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    place, port = installed("transformers"), free_port()
    folder = tmp_path_factory.mktemp("transformers")
    environment = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    made(place, "transformers_child.py", folder / "tiny", environment)
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    command = [place / "bin" / "transformers", "serve", folder / "tiny", *options]
    with running(command, folder, port, "/health", environment) as engine:
        yield engine


@pytest.fixture(scope="module")
def declare(engine: Engine) -> Callable[[System, Any], None]:
    def declared(app: System, ups: Any) -> None:
        here = app.upstream("transformers", kind="compatible", url=f"{engine.url}/v1", on_premises=True)
        options: Any = {"upstream": here, "model": engine.model}
        tiny = app.language_model("tiny", input_price=str(IN), output_price=str(OUT), **options)
        app.language_model("narrow", context=40, **options)
        app.route("answers", primary=tiny, max_latency_ms=300_000, max_cost="0.01")

    return declared


@pytest.fixture(scope="module")
def gateway(declare: Any, in_thread: Any) -> Iterator[Any]:
    with in_thread(declare) as servers:
        yield servers


@pytest.fixture(scope="module")
def ai(gateway: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        yield client


def worth(usage: Any) -> Decimal:
    return (IN * usage.prompt_tokens + OUT * usage.completion_tokens) / 1_000_000


def words(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("model", ["tiny", "route:answers"])
def test_a_whole_answer_is_the_engines_own_with_its_own_count_and_the_price_of_that(
    engine: Engine, ai: openai.OpenAI, model: str
) -> None:
    direct = engine.chat(max_tokens=12)
    raw = ai.chat.completions.with_raw_response.create(model=model, messages=ASK, temperature=0, max_tokens=12)
    told = raw.parse()
    assert told.choices[0].message.content == direct.choices[0].message.content
    assert told.choices[0].finish_reason == direct.choices[0].finish_reason == "length"
    assert told.usage == direct.usage
    assert direct.usage.completion_tokens == 12
    assert Decimal(raw.headers["x-stanchion-cost-usd"]) == worth(direct.usage)


@pytest.mark.parametrize("counted", [True, False])
def test_a_streamed_answer_is_the_engines_own_and_ends_cleanly(
    engine: Engine, ai: openai.OpenAI, counted: bool
) -> None:
    whole = engine.chat(max_tokens=12)
    options = {"stream_options": USAGE} if counted else {}
    direct = list(engine.chat(max_tokens=12, stream=True, **options))
    chunks = list(
        ai.chat.completions.create(model="tiny", messages=ASK, temperature=0, max_tokens=12, stream=True, **options)
    )
    assert words(chunks) == words(direct) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    told = [chunk.usage for chunk in chunks if chunk.usage]
    assert told == [chunk.usage for chunk in direct if chunk.usage]


async def test_what_is_billed_is_what_the_engine_counted_streamed_or_not(declare: Any, served: Any) -> None:
    due, tokens = Decimal(0), 0
    async with served(declare) as servers:
        url = f"{servers.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=servers.key, max_retries=0) as ai:
            asked: Any = {"model": "tiny", "messages": ASK, "temperature": 0, "max_tokens": 7}
            usage = (await ai.chat.completions.create(**asked)).usage
            due, tokens = due + worth(usage), tokens + usage.completion_tokens
            for _ in range(2):
                stream = await ai.chat.completions.create(**asked, stream=True, stream_options=USAGE)
                [usage] = [chunk.usage async for chunk in stream if chunk.usage]
                due, tokens = due + worth(usage), tokens + usage.completion_tokens
        [line] = await servers.run.door(Gateway).usage(servers.run.ctx, by=("model",))
        pages = [page async for page in servers.run.door(Gateway).export_usage(servers.run.ctx)]
    assert (line.requests, line.usage.tokens_out, tokens) == (3, 21, 21)
    assert Decimal(line.cost) / 10**12 == due
    assert [row.usage.estimated for row in pages[0].rows] == [False] * 3


def test_legacy_completions_pass_through_and_the_messages_of_another_client_are_translated(
    engine: Engine, gateway: Any, ai: openai.OpenAI
) -> None:
    direct = engine.client.completions.create(model=engine.model, prompt="When do", max_tokens=5, temperature=0)
    told = ai.completions.create(model="tiny", prompt="When do", max_tokens=5, temperature=0)
    assert (told.choices[0].text, told.usage) == (direct.choices[0].text, direct.usage)
    whole = engine.chat(max_tokens=9)
    response = ai.responses.create(model="tiny", input=ASK, max_output_tokens=9, temperature=0)
    assert response.output_text == whole.choices[0].message.content
    assert (response.status, response.usage.output_tokens) == ("incomplete", 9)  # type: ignore[union-attr]  # it is counted


def test_an_agent_of_pydantic_ai_talks_to_it(engine: Engine, gateway: Any) -> None:
    provider = OpenAIProvider(base_url=f"{gateway.url}/v1", api_key=gateway.key)
    agent = Agent(OpenAIChatModel("tiny", provider=provider))
    told = agent.run_sync(ASK[0]["content"], model_settings={"temperature": 0, "max_tokens": 6})
    assert told.output == engine.chat(max_tokens=6).choices[0].message.content
    assert told.usage.output_tokens == 6


def test_what_does_not_fit_the_model_is_refused_before_the_engine_hears_of_it(ai: openai.OpenAI) -> None:
    long: Any = [{"role": "user", "content": "When do you open? " * 20}]
    with pytest.raises(openai.APIStatusError, match="context of 40") as told:
        ai.chat.completions.create(model="narrow", messages=long)
    assert told.value.status_code == 422


def test_a_fault_of_the_engine_is_told_as_one(ai: openai.OpenAI) -> None:
    broken: Any = "no messages"
    with pytest.raises(openai.APIStatusError) as told:
        ai.chat.completions.create(model="tiny", messages=broken)
    assert told.value.status_code in (400, 422, 502, 503)
