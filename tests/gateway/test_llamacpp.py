"""Stock clients through the gateway to llama.cpp, as the server of llama-cpp-python, with a tiny model made here.

It runs where `python benchmarks/rivals/install.py llamacpp` has built that engine. That server counts no tokens of
streams, whatever it is asked: what the gateway bills for one is an estimate, and marked so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from stanchion.gateway import Gateway
from stanchion.system import System
from tests.gateway.engines import ASK, Engine, free_port, installed, made, running

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    place, port = installed("llamacpp"), free_port()
    folder = tmp_path_factory.mktemp("llamacpp")
    made(place, "llamacpp_child.py", folder / "tiny", {})
    options = ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "512", "--n_threads", "1", "--verbose", "false"]
    server = [place / "bin" / "python", "-m", "llama_cpp.server", "--model", folder / "tiny"]
    with running([*server, *options, "--chat_format", "chatml"], folder, port, "/v1/models", {}) as engine:
        yield engine


@pytest.fixture(scope="module")
def declare(engine: Engine) -> Callable[[System, Any], None]:
    def declared(app: System, ups: Any) -> None:
        here = app.upstream("llamacpp", kind="llamacpp", url=f"{engine.url}/v1")
        app.language_model("tiny", upstream=here, model=engine.model, input_price="0.15", output_price="0.60")

    return declared


@pytest.fixture(scope="module")
def ai(declare: Any, in_thread: Any) -> Iterator[openai.OpenAI]:
    with (
        in_thread(declare) as servers,
        openai.OpenAI(base_url=f"{servers.url}/v1", api_key=servers.key, max_retries=0) as client,
    ):
        yield client


def test_a_whole_answer_is_the_engines_own_with_its_own_count_and_the_price_of_that(
    engine: Engine, ai: openai.OpenAI
) -> None:
    direct = engine.chat(max_tokens=12)
    raw = ai.chat.completions.with_raw_response.create(model="tiny", messages=ASK, temperature=0, max_tokens=12)
    told = raw.parse()
    assert told.choices[0].message.content == direct.choices[0].message.content
    assert told.choices[0].finish_reason == direct.choices[0].finish_reason
    assert told.usage == direct.usage
    due = Decimal("0.15") * direct.usage.prompt_tokens + Decimal("0.60") * direct.usage.completion_tokens
    assert Decimal(raw.headers["x-stanchion-cost-usd"]) == due / 1_000_000


def test_a_streamed_answer_is_the_engines_own_and_ends_cleanly(engine: Engine, ai: openai.OpenAI) -> None:
    def words(chunks: Any) -> str:
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    asked: Any = {"max_tokens": 12, "stream": True}
    direct = words(engine.chat(**asked))
    assert direct
    assert words(ai.chat.completions.create(model="tiny", messages=ASK, temperature=0, **asked)) == direct


async def test_a_stream_that_the_engine_does_not_count_is_billed_by_an_estimate_and_marked_so(
    declare: Any, served: Any
) -> None:
    async with served(declare) as servers:
        url = f"{servers.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=servers.key, max_retries=0) as ai:
            asked: Any = {"model": "tiny", "messages": ASK, "temperature": 0, "max_tokens": 7, "stream": True}
            async for _ in await ai.chat.completions.create(**asked, stream_options={"include_usage": True}):
                pass
        pages = [page async for page in servers.run.door(Gateway).export_usage(servers.run.ctx)]
    [row] = pages[0].rows
    assert row.usage.estimated
    assert row.cost > 0


def test_legacy_completions_pass_through(engine: Engine, ai: openai.OpenAI) -> None:
    asked: Any = {"prompt": "When do", "max_tokens": 5, "temperature": 0}
    direct = engine.client.completions.create(model=engine.model, **asked)
    told = ai.completions.create(model="tiny", **asked)
    assert (told.choices[0].text, told.usage) == (direct.choices[0].text, direct.usage)
