"""The pages of batch jobs: what each state shows, and what may be done to a job."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from stanchion.serving import ColumnDrift
from tests.app.console.fake_batches import STATES, job_id, sample_job, sample_report
from tests.app.console.fake_features import NOW

MODEL = "customer-churn-v2"


def client(world: Any) -> TestClient:
    return TestClient(world.app(), follow_redirects=False)


def page(world: Any, path: str, status: int = 200) -> str:
    answer = client(world).get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def send(world: Any, path: str, **fields: str) -> Any:
    return client(world).post(path, data={"csrf": "csrf-good", **fields})


def only(world: Any, **changes: Any) -> str:
    """Leave one finished job with these changes of its report; its address."""
    job = sample_job(MODEL, "done", report=sample_report(**changes))
    world.doors.serving.jobs = [job]
    return f"/console/batches/{job.id}"


def test_the_list_shows_state_progress_and_rows_of_each_job(make_world: Any) -> None:
    text = page(make_world(), "/console/batches")
    rows = re.findall(r"<tr>\s*<td>.*?</tr>", text, re.S)
    assert len(rows) == len(STATES)
    for state, row in zip(STATES, rows, strict=True):
        assert f"customers-of-{state}.csv" in row
        assert f">{state}</span>" in row
    assert "62 %" in rows[STATES.index("running")]
    assert "100 %" in rows[STATES.index("done")]
    # Nobody knows yet how many rows the queued one has.
    assert " %</span>" not in rows[STATES.index("queued")]
    assert 'data-live="/console/fragments/batches"' in text


def test_a_finished_job_tells_rates_distribution_drift_and_why_rows_were_set_aside(make_world: Any) -> None:
    text = page(make_world(), f"/console/batches/{job_id('done')}")
    assert "4,735 rows a second" in text
    assert "0.05 %" in text, "the rate of quarantined rows"
    assert "tenure_months: Expected `int` &gt;= 0" in text
    assert text.index("tenure_months: Expected") < text.index("Expected 6 cells") < text.index("contract: Unknown")
    assert "/srv/batches/out/scores-done.quarantine.parquet" in text
    assert "Predicted probabilities" in text
    assert "0.05 to 0.10" in text
    assert text.index("monthly_charges</th>") < text.index("contract</th>") < text.index("tenure_months</th>")
    assert "against the training of customer-churn-v2 2.1.3" in text
    assert "65.5 %" in text, "the share of the commonest label"
    assert "data-live=" not in text[text.index("<main") :], "nothing will change any more"


def test_a_job_under_way_is_asked_for_again_and_its_fragments_hold_the_same_markup(make_world: Any) -> None:
    world = make_world()
    text = page(world, f"/console/batches/{job_id('running')}")
    for address in (f"/console/fragments/batches/{job_id('running')}{end}" for end in ("", "/acts")):
        assert f'data-live="{address}"' in text
        answer = client(world).get(address)
        assert "<html" not in answer.text
        assert answer.text.strip() in text
        again = client(world).get(address, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    world.doors.serving.jobs[0] = replace(world.doors.serving.jobs[0], rows=16_400)
    assert "82 %" in client(world).get(f"/console/fragments/batches/{job_id('running')}").text


def test_progress_leaves_what_can_be_done_as_it_stands_so_that_a_tick_is_kept(make_world: Any) -> None:
    world = make_world()
    address = f"/console/fragments/batches/{job_id('running')}/acts"
    before = client(world).get(address)
    world.doors.serving.jobs[0] = replace(world.doors.serving.jobs[0], rows=16_400, chunks=4)
    assert client(world).get(address, headers={"If-None-Match": before.headers["etag"]}).status_code == 304
    world.doors.serving.jobs[0] = sample_job(MODEL, "done", id=job_id("running"))
    assert "<form" not in client(world).get(address).text


def test_a_failed_job_says_what_failed_and_what_to_do(make_world: Any) -> None:
    text = page(make_world(), f"/console/batches/{job_id('failed')}")
    assert "The disk refused: no space left." in text
    assert "Make room, then run it again" in text
    assert "<code>unavailable</code>" in text


@pytest.mark.parametrize(
    ("state", "cancels", "resumes"),
    [
        ("queued", True, False),
        ("running", True, False),
        ("interrupted", True, True),
        ("failed", True, True),
        ("cancelling", False, False),
        ("cancelled", False, False),
        ("done", False, False),
    ],
)
def test_each_state_offers_what_can_be_done_in_it(state: Any, cancels: bool, resumes: bool, make_world: Any) -> None:
    text = page(make_world(), f"/console/batches/{job_id(state)}")
    assert ("/cancel" in text, "/resume" in text) == (cancels, resumes)


def test_a_failed_job_of_which_nothing_is_kept_can_be_neither_resumed_nor_cancelled(make_world: Any) -> None:
    world = make_world()
    world.doors.serving.jobs = [sample_job(MODEL, "failed", chunks=0)]
    assert "<form" not in page(world, f"/console/fragments/batches/{job_id('failed')}/acts")
    answer = send(world, f"/console/batches/{job_id('failed')}/resume")
    assert answer.status_code == 422
    assert "cannot be resumed" in answer.text


def test_who_may_not_change_jobs_is_offered_no_button(make_world: Any) -> None:
    world = make_world(denied=["serving:batch", "serving:cancel_batch"])
    text = page(world, f"/console/batches/{job_id('interrupted')}")
    assert "Change the job" not in text
    assert "/resume" not in text


def test_cancelling_is_confirmed_and_told(make_world: Any) -> None:
    world = make_world()
    path = f"/console/batches/{job_id('running')}/cancel"
    refused = send(world, path)
    assert refused.status_code == 422
    assert "not confirmed" in refused.text
    assert world.doors.serving.asked == []
    done = send(world, path, confirm="yes")
    assert (done.status_code, done.headers["location"]) == (303, f"/console/batches/{job_id('running')}")
    assert world.doors.serving.asked == [("cancel", job_id("running"))]


def test_a_job_that_ended_meanwhile_is_shown_as_it_is_with_the_refusal(make_world: Any) -> None:
    answer = send(make_world(), f"/console/batches/{job_id('done')}/cancel", confirm="yes")
    assert answer.status_code == 409
    assert "has ended already" in answer.text
    assert "Predicted probabilities" in answer.text


def test_resuming_orders_the_same_job_by_its_key(make_world: Any) -> None:
    world = make_world()
    job = sample_job(MODEL, "interrupted")
    world.doors.serving.jobs = [job]
    answer = send(world, f"/console/batches/{job.id}/resume")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/batches/{job.id}")
    assert world.doors.serving.asked == [("submit", f"{MODEL} 5b00d1c2 resume=True")]


def test_the_overview_tells_of_jobs_that_stopped_and_failed_lately(make_world: Any) -> None:
    world = make_world()
    text = page(world, "/console/")
    for words, state in (("stopped after 12,300 rows", "interrupted"), ("The disk refused", "failed")):
        assert words in text
        assert f'href="/console/batches/{job_id(state)}"' in text
    old = NOW - timedelta(days=2)
    world.doors.serving.jobs = [sample_job(MODEL, "failed", updated_at=old), sample_job(MODEL, "done")]
    assert "Batch job of" not in page(world, "/console/")
    assert "Batch job of" not in page(make_world(denied=["serving:read_batches"]), "/console/")


def test_an_unknown_job_is_not_found_on_every_way(make_world: Any) -> None:
    world = make_world()
    page(world, "/console/batches/nothing", status=404)
    page(world, "/console/fragments/batches/nothing", status=404)
    for act in ("cancel", "resume"):
        assert send(world, f"/console/batches/nothing/{act}", confirm="yes").status_code == 404


def test_a_system_without_serving_says_so(make_world: Any) -> None:
    assert "Serving is not part of this system" in page(make_world(serving=None), "/console/batches")
    page(make_world(serving=None), f"/console/batches/{job_id('done')}", status=404)


def test_a_report_with_everything_at_its_longest_stays_within_a_hundred_rows(make_world: Any) -> None:
    world = make_world()
    drift = [ColumnDrift(f"column_{n}", n / 100, "stable", 0.5) for n in range(300)]
    reasons = {f"column_{n}: Required, and missing": n + 1 for n in range(50)}
    labels = {f"class_{n}": n for n in range(1000)}
    text = page(world, only(world, drift=drift, problems=reasons, labels=labels))
    assert len(re.findall(r"<tr\b", text)) <= 100
    assert "275 columns with less are left out" in text
    assert "30 more reasons" in text
    assert "column_299</th>" in text
    assert "column_49: Required" in text


def test_a_report_of_plain_labels_and_no_reference_has_no_empty_parts(make_world: Any) -> None:
    world = make_world()
    text = page(world, only(world, histogram=(), mean=None, drift=[], prediction_drift=None, reference="", problems={}))
    assert "There is no reference to compare with" in text
    assert "Predicted probabilities" not in text
    assert "Quarantined rows" not in text


def test_hostile_names_of_files_reasons_and_labels_stay_text(make_world: Any) -> None:
    world, evil = make_world(), "<script>alert(1)</script>\"'"
    job = sample_job(MODEL, "done", report=sample_report(problems={evil: 1}, labels={evil: 1}, reference=evil))
    world.doors.serving.jobs = [replace(job, order=replace(job.order, input=f"/srv/{evil}", keep=(evil,)))]
    for path in ("/console/batches", f"/console/batches/{job.id}"):
        assert "<script>alert" not in page(world, path)
