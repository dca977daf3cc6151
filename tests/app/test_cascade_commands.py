"""`stanchion gateway`: thresholds and routers from labelled questions, by the real command."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from stanchion.testing.upstreams import Call, Reply, upstream

SYSTEM = """
import os

from stanchion import System
from stanchion.gateway import Confidence

app = System("sums")
for name, price in (("small", "1"), ("large", "9")):
    server = app.upstream(name, kind="openai", url=os.environ[name.upper()] + "/v1")
    app.language_model(name, upstream=server, input_price=price, output_price=price)
file = os.environ.get("CALIBRATION") or None
app.cascade("sums", steps=["small", "large"], verify=Confidence(), calibration=file)
"""


def small(call: Call) -> Reply:
    number = int(call.prompt.split()[-1])
    return Reply(str(number + 1), logprobs=-0.01) if number % 2 else Reply("7", logprobs=-2.0)


def large(call: Call) -> Reply:
    return Reply(str(int(call.prompt.split()[-1]) + 1))


async def command(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "stanchion",
        *arguments,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_cascade_is_calibrated_drawn_and_declared_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "system.py").write_text(SYSTEM)
    lines = [json.dumps({"question": f"What comes after {n}", "expected": str(n + 1)}) for n in range(60)]
    (tmp_path / "labelled.jsonl").write_text("\n".join(lines) + "\n")
    asked = ("gateway", "calibrate", "system.py", "sums", "--examples", "labelled.jsonl", "--floor", "0.9")
    files = ("--output", "found.json", "--picture", "found.png")
    async with upstream("openai", small) as one, upstream("openai", large) as two:
        urls = {"SMALL": one.url, "LARGE": two.url}
        code, out, err = await command(*asked, *files, cwd=tmp_path, **urls)
        assert code == 0, err
        assert "60 of 60 questions" in err
        assert "cheaper than large alone" in out
        code, out, err = await command(*asked, "--json", cwd=tmp_path, CALIBRATION="found.json", **urls)
        assert code == 0, err
    report = json.loads(out)
    assert report["chosen"]["shares"] == [0.5, 0.5]
    assert report["calibration"] == json.loads((tmp_path / "found.json").read_text())
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")


async def test_wrong_lines_and_a_missing_calibration_are_told(tmp_path: Path) -> None:
    (tmp_path / "system.py").write_text(SYSTEM)
    (tmp_path / "labelled.jsonl").write_text('{"question": "What comes after 1", "expected": "2"}\n{"question": 1}\n')
    urls = {"SMALL": "http://127.0.0.1:9", "LARGE": "http://127.0.0.1:9"}
    asked = ("gateway", "calibrate", "system.py", "sums", "--examples", "labelled.jsonl", "--floor", "0.9")
    code, _, err = await command(*asked, cwd=tmp_path, **urls)
    assert (code, "line 2" in err) == (2, True), err
    (tmp_path / "labelled.jsonl").write_text('{"question": "What comes after 1", "expected": "2"}\n' * 20)
    code, _, err = await command(*asked, cwd=tmp_path, CALIBRATION="none.json", **urls)
    assert (code, "holds no calibration" in err) == (2, True), err


async def test_a_router_is_trained_and_says_how_good_it_is(tmp_path: Path) -> None:
    pairs = [(f"Name the colour of {n}", True) for n in range(40)] + [(f"Prove theorem {n}", False) for n in range(40)]
    lines = [json.dumps({"question": question, "good": good}) for question, good in pairs]
    (tmp_path / "outcomes.jsonl").write_text("\n".join(lines))
    asked = ("gateway", "train-router", "--outcomes", "outcomes.jsonl", "--output", "router.json", "--json")
    code, out, err = await command(*asked, cwd=tmp_path)
    assert code == 0, err
    assert json.loads(out)["auc"] > 0.95
    assert json.loads((tmp_path / "router.json").read_text())["examples"] == 80
