"""How often a cache by meaning would give the answer to another question, on labelled pairs of questions.

Run it with the weights of `stanchion models fetch minilm`:

    python benchmarks/gateway/similar.py --models .stanchion/models

Half of the pairs ask the same in other words, the other half are near misses: a number, name, verb or direction apart.
They are few and written by hand, so the figures say which way a threshold errs, and not how one's own traffic behaves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stanchion.gateway.embedder.model import opened
from stanchion.gateway.similar.words import differ, same_words

SAME = """
How long do returns take?|How long does a return take?
What is the capital of France?|Which city is the capital of France?
How do I reset my password?|How can I reset my password?
How do I reset my password?|I forgot my password, how do I set a new one?
What are your opening hours?|When are you open?
Do you ship to Norway?|Is shipping to Norway possible?
How do I cancel my subscription?|How can I cancel the subscription?
Where is my order?|Where can I see my order?
How much does shipping cost?|What does shipping cost?
Can I pay by invoice?|Is payment by invoice possible?
What is your return policy?|What's the return policy?
How do I change my delivery address?|How can I change the address of my delivery?
Is the shop open on Sunday?|Are you open on Sunday?
How do I contact support?|How can I reach support?
What does error 504 mean?|What is the meaning of error 504?
How do I install the app?|How can I install your app?
Who wrote Hamlet?|Who is the author of Hamlet?
How tall is Mount Everest?|What is the height of Mount Everest?
How many people live in Oslo?|What is the population of Oslo?
What is the boiling point of water?|At what temperature does water boil?
Explain recursion|What is recursion?
How do I merge two branches in git?|How can I merge two git branches?
What is the exchange rate of the euro?|What is the euro's exchange rate?
How do I delete my account?|How can I delete my account?
"""
OTHER = """
How long do returns take?|How long do refunds take?
What is the capital of France?|What is the capital of Finland?
How do I reset my password?|How do I reset my router?
How do I enable two-factor login?|How do I disable two-factor login?
What are your opening hours?|What are your opening hours on holidays?
Do you ship to Norway?|Do you ship to Sweden?
How do I cancel my subscription?|How do I renew my subscription?
Where is my order?|Where is my invoice?
How much does shipping cost?|How much does express shipping cost?
Can I pay by invoice?|Can I not pay by invoice?
What were the sales in 2024?|What were the sales in 2025?
How do I change my delivery address?|How do I change my email address?
Is the shop open on Sunday?|Is the shop open on Monday?
How do I upload a file?|How do I download a file?
What does error 504 mean?|What does error 502 mean?
How do I install the app?|How do I uninstall the app?
Who wrote Hamlet?|Who wrote Macbeth?
How tall is Mount Everest?|How old is Mount Everest?
How many people live in Oslo?|How many people work in Oslo?
What is the boiling point of water?|What is the freezing point of water?
Is this safe for children?|Is this not safe for children?
How do I merge two branches in git?|How do I delete two branches in git?
Convert 10 miles to kilometres|Convert 10 kilometres to miles
Which plan is the cheapest?|Which plan is the best?
"""


def main() -> None:
    """Print hits and false hits for a few thresholds, without and with the second look at the words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", type=Path, required=True)
    encoder = opened(parser.parse_args().models / "minilm", 256)
    pairs = {name: [tuple(line.split("|")) for line in text.strip().splitlines()] for name, text in _SETS.items()}
    cosines = {}
    for name, held in pairs.items():
        rows = encoder.vectors([text for pair in held for text in pair]).rows
        cosines[name] = [float(one @ other) for one, other in zip(rows[::2], rows[1::2], strict=True)]
    print(f"{len(pairs['same'])} pairs that ask the same, {len(pairs['other'])} that do not")
    for sure in (0.85, 0.9, 0.95, 0.97):
        for look in (False, True):
            hits = {
                name: sum(_hit(pair, c, sure, look=look) for pair, c in zip(pairs[name], cosines[name], strict=True))
                for name in pairs
            }
            how = "cosine and words" if look else "cosine alone"
            print(
                f"sure={sure:.2f} {how:17} hits {hits['same']:2} of {len(pairs['same'])}, "
                f"false hits {hits['other']:2} of {len(pairs['other'])}"
            )


_SETS = {"same": SAME, "other": OTHER}
_ZONE = 0.07


def _hit(pair: tuple[str, ...], cosine: float, sure: float, *, look: bool) -> bool:
    """With the second look as a route has it: `unsure` lies 0.07 below `sure`, and no model is asked."""
    if not look:
        return cosine >= sure
    if cosine < sure - _ZONE or differ(*pair):
        return False
    return cosine >= sure or same_words(*pair)


if __name__ == "__main__":
    main()
