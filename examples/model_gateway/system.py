"""A gateway with a route for each task. It runs as it is: with no key, no network and no model.

The two servers stand for two providers: one speaks OpenAI's API, the other Anthropic's. Where nothing listens at their
addresses, the built-in model answers: it quotes what the messages hold and says so. `try_it.py` starts scripted servers
there. With real providers the two upstreams lose their `url` and get `credential="env:OPENAI_API_KEY"` and so on.
"""

import os

from stanchion import System
from stanchion.gateway import Limit, SelfConsistency

app = System("model-gateway")

first = app.upstream("first", kind="openai", url=os.environ.get("FIRST_URL", "http://127.0.0.1:18081/v1"))
second = app.upstream("second", kind="anthropic", url=os.environ.get("SECOND_URL", "http://127.0.0.1:18082"))
here = app.upstream("here", kind="builtin")

# Dollars for a million tokens. Hosted models of known names need none: the installed table of prices has them.
small = app.language_model("small", upstream=first, input_price="0.15", output_price="0.60", max_output=16_384)
large = app.language_model("large", upstream=first, input_price="2.50", output_price="10", max_output=16_384)
quick = app.language_model("quick", upstream=second, input_price="0.80", output_price="4", max_output=8_192)
deep = app.language_model("deep", upstream=second, input_price="3", output_price="15", max_output=8_192)
quoter = app.language_model("quoter", upstream=here)

app.route("simple-classification", primary=small, fallbacks=[quick, quoter], max_latency_ms=500, max_cost="0.001")
app.route("complex-reasoning", primary=deep, fallbacks=[large, quoter], max_latency_ms=5_000, max_cost="0.05")
app.route("code-generation", primary=large, fallbacks=[deep, quoter], max_latency_ms=10_000, max_cost="0.10")

# The cheap model first; its answer is taken where three samples of it agree.
app.cascade(
    "answers",
    steps=[small, deep],
    verify=SelfConsistency(3),
    calibration=os.environ.get("ANSWERS_CALIBRATION"),
)

# Addresses leave the house as tokens, cards not at all; what is labelled restricted is left to the built-in model.
app.privacy(ask={"email": "tokenise", "card": "block"})

app.budget("everybody", subject="key:*", limits=[Limit("day", cost="5"), Limit("minute", requests=6_000)])
