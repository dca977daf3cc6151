"""The ways of embeddings and rerank to upstreams that have forms of their own for them."""

from __future__ import annotations

from ...core.context import new_request_id
from ...core.errors import InvalidInput
from ..contract.calls import Usage
from ..dialects.gemini_embeddings import GeminiEmbeddings
from ..dialects.rerank import TeiRerank
from ..ports import Wire
from ..wire.embeddings import embed_of, embeddings
from ..wire.rerank import ranking, rerank_of
from .asked import Asked
from .ways import Watch, Way, Whole


class _Whole(Way):
    """A way of what is never streamed."""

    passes = False

    def watch(self, asked: Asked) -> Watch:
        raise InvalidInput(f"answers of the shape {asked.ask.shape} are not streamed")


class EmbeddedByGemini(_Whole):
    """OpenAI's embeddings over Gemini's."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._dialect = GeminiEmbeddings()

    def wire(self, asked: Asked, most_out: int | None) -> Wire:
        return self._dialect.request(embed_of(asked.ask), self._model)

    def whole(self, asked: Asked, body: bytes) -> Whole:
        embed = embed_of(asked.ask)
        found = self._dialect.answer(body, embed)
        # Where the upstream counts nothing its client is told the estimate that the ledger has as well.
        usage = found.usage or Usage(asked.tokens_in, estimated=True)
        return Whole(embeddings(found.vectors, asked=embed, model=asked.model, usage=usage), found.usage, "stop")


class RankedByTei(_Whole):
    """Rerank in any client's form over Text Embeddings Inference."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._dialect = TeiRerank()

    def wire(self, asked: Asked, most_out: int | None) -> Wire:
        return self._dialect.request(rerank_of(asked.ask), self._model)

    def whole(self, asked: Asked, body: bytes) -> Whole:
        rerank = rerank_of(asked.ask)
        found = self._dialect.answer(body, rerank)
        name = f"rerank-{new_request_id()}"
        told = ranking(found.ranked, asked=rerank, answer_id=name, model=asked.model, usage=found.usage)
        return Whole(told, found.usage, "stop")
