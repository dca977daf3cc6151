"""What a cascade saves, measured on sums that are made up here and two scripted models that err as often as is said.

The cheap one is right about short sums and guesses at long ones, the other one is right in 97 of 100. No real model is
asked and none is judged: the figures are those of the method.
"""

import asyncio
import json
import os
import random
import re
import sys
from pathlib import Path

from stanchion.testing.upstreams import Call, Reply, Usage, upstream

HERE = Path(__file__).parent
QUESTIONS = 400
FLOOR = 0.9


def questions() -> list[dict[str, str]]:
    """Sums of two to twelve numbers, with what they come to."""
    chance = random.Random(7)
    made = []
    for _ in range(QUESTIONS):
        numbers = [chance.randint(2, 99) for _ in range(chance.randint(2, 12))]
        made.append({"question": f"Add {', '.join(map(str, numbers))}.", "expected": str(sum(numbers))})
    return made


def said(call: Call, right: float) -> Reply:
    """The sum with this probability, else another number. The same request always gets the same answer."""
    numbers = [int(word) for word in re.findall(r"\d+", call.prompt)]
    chance = random.Random(f"{call.prompt} {call.body.get('seed')} {right}")
    answer = sum(numbers) if chance.random() < right else sum(numbers) + chance.choice([-10, -1, 1, 10])
    return Reply(str(answer), usage=Usage(tokens_in=8 + 3 * len(numbers), tokens_out=4))


def cheap(call: Call) -> Reply:
    """Right about short sums; from seven numbers on it is a guess."""
    length = len(re.findall(r"\d+", call.prompt))
    return said(call, 0.99 if length <= 3 else 0.9 if length <= 6 else 0.4)


def good(call: Call) -> Reply:
    """Right in 97 of 100, whatever the length."""
    return said(call, 0.97)


async def main(folder: Path) -> int:
    """Calibrate by the command, as one would; its exit code."""
    labelled = folder / "labelled.jsonl"
    labelled.write_text("\n".join(json.dumps(each) for each in questions()))
    async with upstream("openai", cheap) as first, upstream("anthropic", good) as second:
        os.environ["FIRST_URL"], os.environ["SECOND_URL"] = first.url + "/v1", second.url
        arguments = ["gateway", "calibrate", str(HERE / "system.py"), "answers", "--examples", str(labelled)]
        arguments += ["--floor", str(FLOOR), "--data", str(folder / "data")]
        arguments += ["--output", str(folder / "answers.json"), "--picture", str(folder / "answers.png")]
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "stanchion", *arguments)
        return await process.wait()


if __name__ == "__main__":
    place = HERE / "data"
    place.mkdir(exist_ok=True)
    sys.exit(asyncio.run(main(place)))
