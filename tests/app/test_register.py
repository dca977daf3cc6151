"""`stanchion models register` and the server over it, from the outside: a folder becomes answers over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from stanchion.app.commands.register import draft_of
from stanchion.core.errors import InvalidInput

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "image_classification"
pytest.importorskip("PIL.Image", reason="the extra `media` is not installed")
pytest.importorskip("skl2onnx", reason="the extra `train` is not installed")


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stanchion", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's model, trained as its page says."""
    place = tmp_path_factory.mktemp("digits")
    command = [sys.executable, "-W", "ignore", EXAMPLE / "train.py", place / "model"]
    subprocess.run(command, check=True, capture_output=True)
    return place


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    done = run("models", "register", folder / "model", "--data", folder / "data", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["model"], json.loads(done.stdout)["version"]) == ("digits", "1.0.0")
    command = [sys.executable, "-m", "stanchion", "run", EXAMPLE / "system.py", "--data", folder / "data"]
    process = subprocess.Popen(
        [*map(str, command), "--port", "0", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "STANCHION_SERVING__IDLE_SECONDS": "3600"},
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            told = json.loads(line)
            if told.get("event") == "ready":
                yield told["url"]
                break
        else:
            pytest.fail("the server ended before it was ready")
    finally:
        process.terminate()
        process.wait(60)


def ask(server: str, folder: Path, path: str, body: Any = None) -> tuple[int, Any]:
    key = (folder / "data" / "dev.key").read_text().strip()
    headers = {"authorization": f"Bearer {key}"}
    method = "GET" if body is None else "POST"
    answer = httpx2.request(method, server + path, json=body, headers=headers, timeout=60)
    return answer.status_code, answer.json()


def picture(digit: int) -> tuple[str, list[list[int]], list[float]]:
    """One of scikit-learn's digits as PNG in base64, as pixels, and as the graph takes it."""
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels = (load_digits().images[digit] * 255 / 16).astype("uint8")
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode(), pixels.tolist(), (pixels / 255).ravel().tolist()


def test_a_registered_graph_answers_over_http_in_every_form(server: str, folder: Path) -> None:
    for digit in range(10):
        png, pixels, flat = picture(digit)
        for given in (png, pixels):
            status, answer = ask(
                server, folder, "/v1/predictions", {"model_id": "digits", "features": {"picture": given}}
            )
            assert (status, answer["digit"], answer["served_by"]) == (200, str(digit), "primary")
        tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": flat}
        status, answer = ask(server, folder, "/v2/models/digits/infer", {"inputs": [tensor]})
        scores = next(each["data"] for each in answer["outputs"] if each["name"] == "probabilities")
        assert (status, scores.index(max(scores))) == (200, digit)


def test_what_is_no_picture_is_a_422_with_its_place(server: str, folder: Path) -> None:
    status, answer = ask(server, folder, "/v1/predictions", {"model_id": "digits", "features": {"picture": "AAAA"}})
    assert (status, [each["path"] for each in answer["errors"]]) == (422, ["$.features.picture"])


def test_the_server_tells_what_the_graph_holds_of_its_memory(server: str, folder: Path) -> None:
    _, answer = ask(server, folder, "/v1/serving/models/digits")
    assert answer["memory"]["loaded"] is True
    assert answer["memory"]["bytes"] > 10_000
    assert 0 < answer["memory"]["cold_start_seconds"] < 60


@pytest.mark.parametrize("content", [None, "no json", '{"model": "x"}'])
def test_a_folder_that_describes_no_model_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(InvalidInput, match=re.escape("model.json")):
        draft_of(tmp_path)


def test_the_command_ends_with_two_over_a_folder_that_is_none(tmp_path: Path) -> None:
    done = run("models", "register", tmp_path / "nothing", "--data", tmp_path / "data", cwd=tmp_path)
    assert done.returncode == 2
    assert "model.json" in done.stderr
