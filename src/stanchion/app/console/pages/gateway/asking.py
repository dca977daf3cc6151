"""A call that a person writes in a form: for the dry run, and for the playground."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .....core.errors import InvalidInput
from .....gateway import Ask
from ...forms import whole

_LONGEST = 100_000
_MOST_TAGS = 16


@dataclass(frozen=True, slots=True)
class Question:
    """The fields of the form, as they were sent."""

    text: str = ""
    system: str = ""
    most_out: str = ""
    tags: str = ""


def question_of(form: Mapping[str, str]) -> Question:
    """The question of a form."""
    return Question(
        form.get("text", ""), form.get("system", ""), form.get("most_out", "").strip(), form.get("tags", "").strip()
    )


def ask_of(model: str, question: Question, *, stream: bool = False) -> Ask:
    """The chat call that asks it. Raises InvalidInput."""
    if not question.text.strip():
        raise InvalidInput("there is nothing to ask", next_step="Write a message.")
    if len(question.text) + len(question.system) > _LONGEST:
        raise InvalidInput(f"the message and the system prompt may have {_LONGEST:,} characters")
    body: dict[str, object] = {"model": model, "messages": _messages(question)}
    most = whole(question.most_out, name="the most tokens out", least=1, most=1_000_000)
    if most is not None:
        body["max_tokens"] = most
    if stream:
        body["stream"] = True
        # The upstream's own count of tokens comes with it.
        body["stream_options"] = {"include_usage": True}
    return Ask("chat", json.dumps(body).encode(), tags=_tags(question.tags))


def _messages(question: Question) -> list[dict[str, str]]:
    system = [{"role": "system", "content": question.system}] if question.system.strip() else []
    return [*system, {"role": "user", "content": question.text}]


def _tags(text: str) -> dict[str, str]:
    """`team=legal, case=4711` as a mapping. Raises InvalidInput."""
    tags: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or len(name) > 64 or len(value) > 256:
            raise InvalidInput("tags are written as name=value, name=value", next_step="Correct the tags.")
        tags[name.strip()] = value.strip()
    if len(tags) > _MOST_TAGS:
        raise InvalidInput(f"a call has at most {_MOST_TAGS} tags")
    return tags
