"""An installed encoder: texts in, vectors out, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import FieldProblem, InvalidInput, Unavailable

if TYPE_CHECKING:
    import onnxruntime
    from tokenizers import Encoding, Tokenizer

GRAPH, WORDS = "model.onnx", "tokenizer.json"
_MOST_ROWS = 32
_MOST_TOKENS = 4096  # of one batch, padding and all: what is worked on then fits the caches of a usual machine


@dataclass(frozen=True, slots=True)
class Vectors:
    """One row for each text, of length one each, and how many tokens the texts had."""

    rows: NDArray[np.float32]
    tokens: int


class Encoder:
    """One model. Any thread may use it; a call works on one core or a few, as the machine has them."""

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: Tokenizer, most_tokens: int) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._most = most_tokens
        self.size = int(session.get_outputs()[0].shape[1])

    def vectors(self, texts: Sequence[str], *, truncate: bool = False) -> Vectors:
        """Raises InvalidInput for a text of too many tokens; with `truncate` its end is left out instead."""
        encodings = self._tokenizer.encode_batch(list(texts))
        lengths = [len(each.ids) for each in encodings]
        too_long = [place for place, length in enumerate(lengths) if length > self._most]
        if too_long and not truncate:
            place = f"$.input[{too_long[0]}]"
            raise InvalidInput(
                f"a text has {lengths[too_long[0]]} tokens, and the model reads {self._most} at most",
                fields=[FieldProblem(place, "Split the text")],
                next_step='Split the text, or send `"truncate": true` to have its end left out.',
            )
        found = np.zeros((len(texts), self.size), dtype=np.float32)
        for batch in self._batches([min(length, self._most) for length in lengths]):
            found[batch] = self._run([encodings[place] for place in batch])
        return Vectors(found, sum(min(length, self._most) for length in lengths))

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, with those that begin and end it."""
        return list(self._tokenizer.encode(text).ids)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Places of texts by length: little is padded."""
        batch: list[int] = []
        for place in sorted(range(len(lengths)), key=lengths.__getitem__):
            if batch and (len(batch) == _MOST_ROWS or lengths[place] * (len(batch) + 1) > _MOST_TOKENS):
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch

    def _run(self, encodings: Sequence[Encoding]) -> NDArray[np.float32]:
        rows = [_cut(each.ids, self._most) for each in encodings]
        width = max(map(len, rows))
        ids = np.zeros((len(rows), width), dtype=np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        [told] = self._session.run(["vectors"], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(told, dtype=np.float32)


def opened(folder: Path, most_tokens: int, *, threads: int = 0) -> Encoder:
    """The encoder that lies in the folder. Raises Unavailable where it cannot be opened."""
    try:
        import onnxruntime
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise Unavailable("the embedding model cannot be run here", next_step="Install the extra `embed`.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        tokenizer = Tokenizer.from_file(str(folder / WORDS))
        session = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # both raise classes of their own, and Exception itself
        raise Unavailable(f"the embedding model cannot be opened: {type(error).__name__}") from error
    # What the files say of padding and cutting is for training; here it is decided by the batch.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Encoder(session, tokenizer, most_tokens)


def _cut(ids: Sequence[int], most: int) -> list[int]:
    """At most so many tokens, of which the last still ends the sentence."""
    return list(ids) if len(ids) <= most else [*ids[: most - 1], ids[-1]]
