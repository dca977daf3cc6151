"""The pages of pipelines: runs with their steps, schedules, queues, and what can be done to a run."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from stanchion.app.console.charts import graph_picture
from stanchion.pipelines import NodeView
from tests.app.console.fake_runs import RUN_STATES, FakePipelines, run_id, sample_run

HOME = "/console/pipelines"
NIGHTLY = f"{HOME}/declared/nightly"


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False)


def page(world: Any, path: str, status: int = 200) -> str:
    answer = client(world).get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def send(world: Any, path: str, **fields: str) -> Any:
    return client(world).post(path, data={"csrf": "csrf-good", **fields})


def of(status: Any) -> str:
    return f"{HOME}/runs/{run_id(status)}"


def test_runs_are_listed_with_their_state_and_why(make_world: Any) -> None:
    text = page(make_world(), HOME)
    assert len(re.findall(r"<tr>\s*<td><a", text)) == len(RUN_STATES)
    assert "7 % of the rows are &lt;b&gt;bad&lt;/b&gt;" in text
    assert "waits for review:rv_0001" in text
    only = page(make_world(), f"{HOME}?status=failed&pipeline=nightly")
    assert re.findall(r"<a class=\"strong mono\" href=\"([^\"]+)\"", only) == [of("failed")]
    assert 'data-live="/console/fragments/pipelines?pipeline=nightly&amp;status=failed"' in only


def test_a_run_shows_its_timeline_steps_notes_and_rows_set_aside(make_world: Any) -> None:
    text = page(make_world(), of("failed"))
    assert "Waterfall of 2 steps over" in text
    assert "too many bad rows" in text
    assert "read 1,200 rows of &lt;b&gt;orders&lt;/b&gt;" in text
    assert "from an earlier run" in text
    assert "c-77" in text
    assert "age is negative" in text
    running = page(make_world(), of("running"))
    assert "Taken over 1 time from a process that died; 1 late result refused." in running
    for end in ("", "/acts"):
        assert f'data-live="/console/fragments/pipelines/{run_id("running")}{end}"' in running
    assert "data-live=" not in text[text.index("<main") :], "what has ended changes no more"


def test_a_record_is_followed_through_the_run(make_world: Any) -> None:
    text = page(make_world(), f"{of('done')}?record=c-77")
    assert "quarantined" in text
    assert text.index("<strong>extract</strong>") < text.index("<strong>validate</strong>")
    assert "No step has seen it" in page(make_world(), f"{of('done')}?record=nobody", status=404)
    assert "Record id" not in page(make_world(denied=["pipelines:read_content"]), of("done"))


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        ("running", {"signal", "fork", "cancel"}),
        ("queued", {"signal", "cancel"}),
        ("waiting", {"signal", "fork", "cancel"}),
        ("failed", {"resume", "fork"}),
        ("cancelled", {"resume", "fork"}),
        ("done", {"fork"}),
    ],
)
def test_each_state_offers_what_can_be_done_in_it(status: Any, offered: set[str], make_world: Any) -> None:
    assert set(re.findall(r'name="what" value="(\w+)"', page(make_world(), of(status)))) == offered


def test_a_run_is_cancelled_resumed_forked_and_told(make_world: Any) -> None:
    world = make_world()
    assert send(world, of("running"), what="cancel").status_code == 422
    for status, fields, target in (
        ("running", {"what": "cancel", "confirm": "yes"}, "running"),
        ("failed", {"what": "resume", "adopt": "yes"}, "failed"),
        ("done", {"what": "fork", "stage": "validate"}, "queued"),
        ("waiting", {"what": "signal", "name": "review:rv_0001", "value": '{"ok": true}'}, "waiting"),
    ):
        assert send(world, of(status), **fields).headers["location"] == of(target)
    assert world.doors.pipelines.asked == [
        ("cancel", run_id("running")),
        ("resume", run_id("failed"), True),
        ("fork", run_id("done"), "validate"),
        ("signal", run_id("waiting"), "review:rv_0001", {"ok": True}),
    ]
    assert "is no JSON" in send(world, of("waiting"), what="signal", name="x", value="yes").text
    assert send(world, of("done"), what="resume").status_code == 409
    assert send(world, of("done"), what="nothing").status_code == 422


def test_who_may_only_look_is_offered_nothing(make_world: Any) -> None:
    denied = [f"pipelines:{verb}" for verb in ("start", "signal", "cancel", "resume", "schedule")]
    world = make_world(denied=denied)
    for path in (of("waiting"), of("failed"), f"{HOME}/schedules", NIGHTLY):
        forms = re.findall(r'<form method="post" action="([^"]*)"', page(world, path))
        assert forms == ["/console/logout"], path


def test_a_backfill_tells_how_far_it_is(make_world: Any) -> None:
    world = make_world()
    child = sample_run("done", id="01kchild", parent=run_id("running"))
    world.doors.pipelines.of[child.id] = child
    text = page(world, of("running"))
    assert "Child runs" in text
    assert "21 done" in text
    assert 'width="70.00%"' in text


def test_a_pipeline_is_drawn_started_and_made_up_for(make_world: Any) -> None:
    world = make_world()
    text = page(world, NIGHTLY)
    assert text.count('class="lineage-node') == 5
    assert text.count('class="lineage-edge"') == 5
    assert "only on Mondays" in text
    assert send(world, NIGHTLY, inputs='{"day": "2026-11-20"}', dry="yes").headers["location"] == of("queued")
    fields = {"start": "2026-01-01", "end": "2026-02-01T04:00+01:00", "parallel": "4"}
    assert send(world, f"{NIGHTLY}/backfill", **fields).headers["location"] == of("queued")
    begin, back = world.doors.pipelines.asked
    assert begin == ("begin", "nightly", {"day": "2026-11-20"}, None, True)
    assert (back[2], back[4]) == (datetime(2026, 1, 1, tzinfo=UTC), 4)
    refused = send(world, NIGHTLY, inputs='"wrong"', key="k1")
    assert refused.status_code == 422
    assert 'value="k1"' in refused.text
    assert "is no moment" in send(world, f"{NIGHTLY}/backfill", start="soon", end="later").text
    assert "no fixed graph" in page(world, f"{HOME}/declared/by-hand")
    page(world, f"{HOME}/declared/nobody", status=404)


def test_a_schedule_is_held_and_fires_again(make_world: Any) -> None:
    world = make_world()
    assert "0 4 * * * UTC" in page(world, f"{HOME}/schedules")
    send(world, f"{HOME}/schedules/every-night", paused="yes")
    world.doors.pipelines.paused.add("every-night")
    assert "Let it fire" in page(world, f"{HOME}/schedules")
    send(world, f"{HOME}/schedules/every-night", paused="no")
    assert world.doors.pipelines.asked == [("pause", "every-night", True), ("pause", "every-night", False)]


def test_queues_tell_what_they_hold_and_which_runs_need_somebody(make_world: Any) -> None:
    text = page(make_world(), f"{HOME}/queues")
    assert "5 in 60 s" in text
    assert "none</span>" in text, "a queue without a worker is told"
    assert of("failed") in text
    assert of("done") not in text


def test_a_system_without_pipelines_has_no_page_of_them(make_world: Any) -> None:
    world = make_world(pipelines=None, events=None)
    assert "Data &amp; pipelines" not in page(world, "/console/")
    page(world, HOME, status=404)
    assert client(make_world(pipelines=None)).get(HOME).headers["location"] == "/console/events"
    assert "No pipeline is declared" in page(make_world(pipelines=FakePipelines(empty=True)), f"{HOME}/schedules")


def test_stages_stand_behind_what_they_need() -> None:
    nodes = [NodeView("a", "a", "stage"), NodeView("b", "b", "stage", ("a",)), NodeView("c", "c", "join", ("a", "b"))]
    picture = graph_picture(nodes)
    assert [box.x for box in picture.boxes] == sorted({box.x for box in picture.boxes})
    many = graph_picture([replace(nodes[0], id=f"n{n}") for n in range(100)])
    assert (len(many.boxes), many.left_out) == (80, 20)
