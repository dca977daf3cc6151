"""Scripted upstreams: servers on this machine that answer as OpenAI, Anthropic, Gemini or Bedrock do, faults and all.

No key, no network, nothing invented: a test says what the model says, and reads afterwards what it was asked and
what it would bill.
"""

from .families.family import SigningKey
from .script import Call, Fault, Faults, Reply, Script, Served, ToolCall, Usage
from .server import Upstream, upstream

__all__ = [
    "Call",
    "Fault",
    "Faults",
    "Reply",
    "Script",
    "Served",
    "SigningKey",
    "ToolCall",
    "Upstream",
    "Usage",
    "upstream",
]
