"""Fields of a client's form that its neutral reading has no place for: passed on, left out or refused, never lost.

Where a call is translated, a field that nobody here knows might change the answer; a client that counts on it is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .reading import wrong

# They say how a call is billed, stored, cached or attributed, or only make it quicker: the answer is the same without.
_WITHOUT_EFFECT = frozenset(
    {
        "service_tier",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "speed",
        "safety_identifier",
        "prediction",
        "diagnostics",
        "user_profile_id",
        "workspace_id",
        "cache_control",
    }
)
# What these fields mean when they are absent: saying so changes nothing.
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "store": (False,),
    "background": (False,),
    "truncation": ("disabled",),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "verbosity": ("medium",),
    "include": ([], ["reasoning.encrypted_content"]),
    "service_tier": ("auto", "default"),
    "moderation": ({},),
}


def passed_on(extra: Mapping[str, Any], taken: Collection[str], upstream: str) -> dict[str, Any]:
    """The fields that the upstream takes under the same name.

    Raises InvalidInput for one that it does not take and that could change the answer.
    """
    kept = {}
    for name, value in extra.items():
        if name in taken:
            kept[name] = value
        elif name not in _WITHOUT_EFFECT and value not in _DEFAULTS.get(name, ()):
            raise wrong(f"$.{name}", f"{upstream} does not take this field; ask an upstream of the call's own form")
    return kept
