"""Counts of tokens and reasons of an answer's end, as each form writes them, and as ours.

Providers differ in what a count holds: Anthropic counts cached tokens apart from the input, OpenAI within it; some
upstreams leave thinking out of the output and have it in the total alone. Money hangs on these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contract.calls import Usage
from .conversation import Stop

CHAT_STOPS: Mapping[str, Stop] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "refusal",
}
MESSAGES_STOPS: Mapping[str, Stop] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
INCOMPLETE: Mapping[str, Stop] = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
}


def _count(held: object, name: str) -> int:
    """A count of a decoded document, 0 where there is none that makes sense."""
    # JSON gives no mapping but dict, and a look at the class costs a fifth of one at the abstract class.
    if not isinstance(held, dict) or (value := held.get(name)) is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 53:
        return 0
    return int(value)


def usage_of_chat(held: object) -> Usage | None:
    """Usage of chat completions, completions, embeddings and rerank; None where the upstream gave none."""
    if not isinstance(held, dict) or not held:
        return None
    total, tokens_in = _count(held, "total_tokens"), _count(held, "prompt_tokens")
    tokens_out = _count(held, "completion_tokens")
    if "prompt_tokens" not in held and not tokens_out:
        tokens_in = total
    before, after = held.get("prompt_tokens_details"), held.get("completion_tokens_details")
    reasoning = _count(after, "reasoning_tokens")
    # DeepSeek has a name of its own for what OpenAI calls cached tokens.
    cached = min(tokens_in, _count(before, "cached_tokens") or _count(held, "prompt_cache_hit_tokens"))
    if reasoning > tokens_out:
        tokens_out += reasoning
    return Usage(
        tokens_in=tokens_in,
        # Whatever the total has beyond the input was made by the model: thinking that `completion_tokens` leaves out.
        tokens_out=max(tokens_out, total - tokens_in),
        cached=cached,
        cache_writes=min(tokens_in - cached, _count(before, "cache_write_tokens")),
        reasoning=reasoning,
    )


def usage_of_responses(held: object) -> Usage | None:
    """Usage of the Responses API; None where the upstream gave none."""
    if not isinstance(held, dict) or not held:
        return None
    tokens_in, before = _count(held, "input_tokens"), held.get("input_tokens_details")
    cached = min(tokens_in, _count(before, "cached_tokens"))
    return Usage(
        tokens_in=tokens_in,
        tokens_out=_count(held, "output_tokens"),
        cached=cached,
        cache_writes=min(tokens_in - cached, _count(before, "cache_write_tokens")),
        reasoning=_count(held.get("output_tokens_details"), "reasoning_tokens"),
    )


def usage_of_messages(held: object) -> Usage | None:
    """Usage of Anthropic's messages; what was read from and written to its cache is added to the input."""
    if not isinstance(held, dict) or not held:
        return None
    cached, written = _count(held, "cache_read_input_tokens"), _count(held, "cache_creation_input_tokens")
    return Usage(
        tokens_in=_count(held, "input_tokens") + cached + written,
        tokens_out=_count(held, "output_tokens"),
        cached=cached,
        cache_writes=written,
        reasoning=_count(held.get("output_tokens_details"), "thinking_tokens"),
    )


def merged(first: object, second: object) -> dict[str, Any]:
    """The later of two counts of one stream of messages; what the second leaves out stays as the first had it."""
    counts = dict(first) if isinstance(first, Mapping) else {}
    if isinstance(second, Mapping):
        counts.update({name: value for name, value in second.items() if value is not None})
    return counts


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Usage as chat completions have it."""
    return {
        "prompt_tokens": usage.tokens_in,
        "completion_tokens": usage.tokens_out,
        "total_tokens": usage.tokens_in + usage.tokens_out,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_writes},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def responses_usage(usage: Usage) -> dict[str, Any]:
    """Usage as the Responses API has it."""
    return {
        "input_tokens": usage.tokens_in,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_writes},
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.tokens_in + usage.tokens_out,
    }


def messages_usage(usage: Usage) -> dict[str, Any]:
    """Usage as Anthropic's messages have it."""
    written: dict[str, Any] = {
        "input_tokens": max(0, usage.tokens_in - usage.cached - usage.cache_writes),
        "cache_creation_input_tokens": usage.cache_writes,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.tokens_out,
    }
    if usage.reasoning:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return written
