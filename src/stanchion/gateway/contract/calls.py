"""One call of a language, embedding or rerank model: the client's own document in, the answer in the same shape out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Shape = Literal["chat", "completions", "responses", "embeddings", "rerank", "messages"]
"""The form of a request and its answer.

`chat`, `completions`, `responses` and `embeddings` as OpenAI's API has them, `messages` as Anthropic's, `rerank` as
Cohere's and Jina's.
"""

CacheState = Literal["", "hit", "similar", "coalesced", "miss"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the upstream counted them. `cached` and `cache_writes` are among `tokens_in`,
    `reasoning` among `tokens_out`. `estimated` is set where the upstream gave no count and the gateway counted.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    cache_writes: int = 0
    reasoning: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """What became of a call. `model` is the upstream's name of the model that answered, `rung` its place in the route.

    `cost` is in picodollars (10^-12 US dollars), frozen when the call ended; `priced` is False where no price of the
    model is known, and then it is 0. `finish` is why the answer ended. `tried` names the rungs that failed before
    and the code of each failure. `flags` are the names of the rails that objected and let pass.
    """

    upstream: str
    model: str
    rung: str
    route: str = ""
    usage: Usage = Usage()
    cost: int = 0
    priced: bool = True
    cache: CacheState = ""
    finish: str = ""
    tried: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """A call. `body` is the client's JSON document, untouched: fields that the gateway does not know reach an
    upstream of the same shape byte for byte.

    `headers` are the few of the client's headers that mean something to an upstream (lower case), such as
    `anthropic-beta`. `tags` are the caller's own words on the call, for conditions, budgets and reports. With
    `background` nobody waits: what it meets at a model counts against the model for other such calls alone.
    """

    shape: Shape
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    background: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer in the shape of the call."""

    body: bytes
    account: Account


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a streamed answer: bytes of server-sent events in the shape of the call, to be sent at once.

    The last one has the account; its `data` may be empty. A stream without such a piece was cut off. The first one
    has in `opening` what is known at the start: who answers, and by which route.
    """

    data: bytes
    account: Account | None = None
    opening: Account | None = None
