"""The gateway that is measured: routes to the mock upstream with prices, a budget and limits for each key.

The environment names the upstream (BENCH_UPSTREAM), and whether there is a privacy policy as well (BENCH_PRIVACY).
"""

import os

from stanchion import System
from stanchion.gateway import Limit

UPSTREAM = os.environ["BENCH_UPSTREAM"]

app = System("gateway-benchmark")

now = app.upstream("now", kind="openai", url=f"{UPSTREAM}/0/v1", credential="env:BENCH_UPSTREAM_KEY")
later = app.upstream("later", kind="openai", url=f"{UPSTREAM}/20/v1", credential="env:BENCH_UPSTREAM_KEY")

prompt = app.language_model("prompt", upstream=now, input_price="0.15", output_price="0.60", max_output=16_384)
slow = app.language_model("slow", upstream=later, input_price="0.15", output_price="0.60", max_output=16_384)
frail = app.language_model("frail", upstream=now, input_price="0.15", output_price="0.60", max_output=16_384)

app.route("at-once", primary=prompt, fallbacks=[slow], max_latency_ms=5_000, max_cost="0.05")
app.route("in-20-ms", primary=slow, fallbacks=[prompt], max_latency_ms=5_000, max_cost="0.05")
app.route("kept", primary=prompt, max_latency_ms=5_000, max_cost="0.05", cache_seconds=86_400)
app.route("frail", primary=frail, max_latency_ms=5_000, max_cost="0.05")

app.budget(
    "each-key",
    subject="key:*",
    limits=[Limit("day", cost="1000000"), Limit("minute", requests=10_000_000, tokens=10_000_000_000)],
    concurrency=1_000,
)

if os.environ.get("BENCH_PRIVACY"):
    app.privacy(ask={"email": "tokenise", "card": "block"})
