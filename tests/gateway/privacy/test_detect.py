"""What stands in text that is JSON itself is found behind its escapes, and taking it out leaves JSON."""

from __future__ import annotations

import json

import pytest

from stanchion.gateway.contract.privacy import PrivacySpec
from stanchion.gateway.privacy.detect import Detector, plain

FOUND = {
    "email": "ann.lee@example.org",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ssn": "536-90-4399",
    "ip": "10.0.0.12",
    "phone": "+44 20 7946 0958",
    "secret": "sk-abcdefghijklmnop1234",
}
BEFORE = ("\n", "\t", "\r\n", '"', "/", "\u00a0", "\x0b", "\\\n")


@pytest.mark.parametrize("before", BEFORE, ids=repr)
@pytest.mark.parametrize("kind", FOUND)
def test_an_escape_hides_nothing_and_stays_whole(kind: str, before: str) -> None:
    value = FOUND[kind]
    text = json.dumps({"told": f"All of it:{before}{value}{before}and so on"})
    [span] = Detector(PrivacySpec()).find(text)
    assert (span.kind, text[span.start : span.end]) == (kind, value)
    left = json.loads(text[: span.start] + f"[{kind}]" + text[span.end :])
    assert left == {"told": f"All of it:{before}[{kind}]{before}and so on"}


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("hidden", ["all", "one", "rest"])
@pytest.mark.parametrize("kind", FOUND)
def test_letters_behind_escapes_are_letters_however_deep(kind: str, hidden: str, depth: int) -> None:
    value = FOUND[kind]
    places = {"all": range(len(value)), "one": [3], "rest": range(1, len(value))}[hidden]
    written = "".join(f"\\u{ord(c):04x}" if place in places else c for place, c in enumerate(value))
    text = f'{{"told": "\\ud83d\\ude00 All of it:\\n{written}, and so on"}}'
    for _ in range(depth - 1):
        text = json.dumps({"within": text})
    [span] = Detector(PrivacySpec()).find(text)
    assert (span.kind, plain(text[span.start : span.end])) == (kind, value)
    left = json.loads(text[: span.start] + f"[{kind}]" + text[span.end :])
    for _ in range(depth - 1):
        left = json.loads(left["within"])
    assert left == {"told": f"\N{GRINNING FACE} All of it:\n[{kind}], and so on"}


def test_escapes_of_line_ends_stay_in_what_was_found() -> None:
    assert plain(r"one\ntwo\u000a\\u0061") == r"one\ntwo\u000aa"


def test_a_named_secret_is_found_in_json_within_json() -> None:
    text = json.dumps({"body": json.dumps({"password": "hunter2-and-more"})})
    [span] = Detector(PrivacySpec()).find(text)
    assert (span.kind, text[span.start : span.end].strip('\\"')) == ("secret", "hunter2-and-more")


def test_text_without_escapes_is_looked_through_once() -> None:
    seen: list[str] = []

    def noted(text: str) -> list[object]:
        seen.append(text)
        return []

    detector = Detector(PrivacySpec(), extra=[noted])
    detector.find(r"C:\Users\ann and \d+")
    assert len(seen) == 1
    detector.find(r"C:\new")
    assert seen[1:] == [r"C:\new", "C: ew"]
