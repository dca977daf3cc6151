"""The list of events, one event with its data for those who may read them, and the catalogue of schemas."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from stanchion.app.console.pages.events.schemas import difference
from stanchion.events import Selection
from tests.app.console.fake_runs import FakeEvents

RECENT, SCHEMAS = "/console/events/recent", "/console/events/schemas"
SUBJECT = f"{SCHEMAS}/document.uploaded"


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False)


def page(world: Any, path: str, status: int = 200) -> str:
    answer = client(world).get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def send(world: Any, path: str, **fields: str) -> Any:
    return client(world).post(path, data={"csrf": "csrf-good", **fields})


def test_the_newest_events_are_listed_without_their_data(make_world: Any) -> None:
    text = page(make_world(), RECENT)
    assert [text.index(f"{RECENT}/17.{n}") for n in (1, 2, 3)] == sorted(
        text.index(f"{RECENT}/17.{n}") for n in (1, 2, 3)
    )
    assert "doc-&lt;b&gt;1&lt;/b&gt;" in text and "27 B" in text and "secret" not in text
    assert 'data-live="/console/fragments/events-recent"' in text
    assert "No event was published" in page(make_world(events=FakeEvents(empty=True)), RECENT)


def test_events_are_chosen_by_type_source_subject_and_time(make_world: Any) -> None:
    world = make_world()
    asked = "type=order.*,reading&source=/shop&subject=s&since=2026-01-31+12:00&until=2026-02-01T00:00:00Z"
    text = page(world, f"{RECENT}?{asked}")
    assert world.doors.events.wanted == [
        Selection(
            types=("order.*", "reading"),
            source="/shop",
            subject="s",
            since=datetime(2026, 1, 31, 12, tzinfo=UTC),
            until=datetime(2026, 2, 1, tzinfo=UTC),
        )
    ]
    assert 'value="order.*,reading"' in text
    assert "since=2026-01-31" in re.findall(r'data-live="([^"]+)"', text)[-1]
    assert "is no moment" in page(world, f"{RECENT}?since=yesterday", status=422)


def test_an_event_shows_its_envelope_its_data_and_what_came_of_it(make_world: Any) -> None:
    text = page(make_world(), f"{RECENT}/17.1")
    for words in ("&lt;i&gt;secret&lt;/i&gt;.pdf", "partitionkey", "key:web-shop", "notify gave it up", "<h2>Hops"):
        assert words in text, words
    assert "It led to no other event so far" in page(make_world(), f"{RECENT}/17.2")
    assert "holds this event no more" in page(make_world(), f"{RECENT}/17.9", status=404)


def test_who_may_not_follow_events_sees_the_envelope_and_no_data(make_world: Any) -> None:
    text = page(make_world(denied=["events:follow"]), f"{RECENT}/17.1")
    assert "secret" not in text and "partitionkey" not in text
    assert "events:follow" in text and "27 B" in text


def test_the_catalogue_tells_versions_rules_and_handlers(make_world: Any) -> None:
    text = page(make_world(), SCHEMAS)
    rows = re.findall(r"<tr>\s*<th scope=\"row\">.*?</tr>", text, re.S)
    assert len(rows) == 3
    assert "full, transitive" in rows[1] and "lenient" in rows[1] and "extract, audit-trail" in rows[1]
    assert f'href="{SUBJECT}"' in rows[1] and f"{RECENT}?type=document.uploaded" in rows[1]
    assert "Avro" in rows[2] and "href" not in rows[0].split("</th>")[0]
    assert "No type of event is known" in page(make_world(events=FakeEvents(empty=True)), SCHEMAS)


def test_a_schema_shows_its_versions_and_what_changed_between_them(make_world: Any) -> None:
    text = page(make_world(), SUBJECT)
    assert "From version 1 to 2" in text
    assert re.search(r'diff-in">\+ +&#34;pages&#34;: \{', text)
    assert re.search(r'diff-out">- +&#34;required&#34;', text)
    assert "extract, audit-trail" in text
    assert "From version" not in page(make_world(), f"{SUBJECT}?version=1")
    assert "From version 2 to 1" in page(make_world(), f"{SUBJECT}?version=1&against=2")
    page(make_world(), f"{SUBJECT}?version=7", status=404)
    page(make_world(), f"{SCHEMAS}/nothing", status=404)


def test_a_change_is_judged_without_being_registered(make_world: Any) -> None:
    world = make_world()
    text = send(world, SUBJECT, what="judge", text='{"type": "<b>"}').text
    assert "It would break its users." in text and "#/properties/name/type" in text
    assert "takes &lt;null&gt;" in text and "{&#34;type&#34;: &#34;&lt;b&gt;&#34;}" in text
    assert "Nothing breaks (full, transitive)" in send(world, SUBJECT, what="judge", text='{"type": "integer"}').text
    assert [what[0] for what in world.doors.events.asked] == ["judge", "judge"]


def test_the_rule_of_a_subject_is_changed_by_those_who_may(make_world: Any) -> None:
    world = make_world()
    answer = send(world, SUBJECT, what="rule", compatibility="forward", lenient="yes")
    assert answer.headers["location"] == SUBJECT
    assert world.doors.events.asked == [("rule", "document.uploaded", "forward", True)]
    assert send(world, SUBJECT, what="rule", compatibility="none").status_code == 409
    assert send(world, SUBJECT, what="rule", compatibility="sideways").status_code == 422
    assert "<select" not in page(make_world(denied=["events:write_schema"]), SUBJECT).split("<main")[1]


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ('{"a": 1}', '{"a": 1}', ""),
        ('{"a": 1}', '{"a": 2}', "same out in same"),
        ('{"a": 1}', '{"a": 1, "b": 2}', "same out in in same"),
    ],
)
def test_differences_are_of_lines(old: str, new: str, kinds: str) -> None:
    assert " ".join(line.kind for line in difference(old, new)) == kinds
