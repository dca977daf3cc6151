from __future__ import annotations

import pytest

from stanchion.core.errors import Misconfigured
from stanchion.core.telemetry.metrics import Metrics


def text(metrics: Metrics) -> str:
    body, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    return body.decode()


def test_calls_are_counted_by_their_labels() -> None:
    metrics = Metrics(version="1.2.3")
    metrics.calls.inc("serving:predict", "ok")
    metrics.calls.inc("serving:predict", "ok")
    metrics.calls.inc("serving:predict", "not_found", by=3)
    shown = text(metrics)
    assert 'stanchion_calls_total{action="serving:predict",outcome="ok"} 2.0' in shown
    assert 'stanchion_calls_total{action="serving:predict",outcome="not_found"} 3.0' in shown
    assert 'stanchion_build_info{version="1.2.3"} 1.0' in shown
    assert "process_cpu_seconds_total" in shown


def test_seconds_fall_into_buckets() -> None:
    metrics = Metrics()
    metrics.call_seconds.observe(0.003, "serving:predict")
    assert 'stanchion_call_seconds_bucket{action="serving:predict",le="0.0025"} 0.0' in text(metrics)
    assert 'stanchion_call_seconds_bucket{action="serving:predict",le="0.005"} 1.0' in text(metrics)


def test_a_label_with_too_many_values_counts_the_rest_as_other() -> None:
    metrics = Metrics()
    for i in range(10_000):
        metrics.requests.inc(f"/made/up/{i}", "404")
    metrics.requests.inc("/made/up/1", "404")
    shown = [line for line in text(metrics).splitlines() if line.startswith("stanchion_requests_total{")]
    assert len(shown) == 101
    assert 'stanchion_requests_total{route="other",status="404"} 9900.0' in shown
    assert 'stanchion_requests_total{route="/made/up/1",status="404"} 2.0' in shown


def test_an_instrument_has_a_bounded_number_of_series_over_all_labels() -> None:
    metrics = Metrics()
    wide = metrics.counter("wide_total", "Many labels", ("a", "b", "c"))
    for i in range(90):
        for j in range(90):
            wide.inc(str(i), str(j), "x")
    shown = [line for line in text(metrics).splitlines() if line.startswith("wide_total{")]
    assert len(shown) <= 2_001
    assert sum(float(line.rsplit(" ", 1)[1]) for line in shown) == 8_100


def test_a_watched_gauge_is_read_at_each_scrape() -> None:
    metrics, waiting = Metrics(), [1]
    metrics.backlog.watch(lambda: waiting[0], "ledger")
    assert 'stanchion_backlog{store="ledger"} 1.0' in text(metrics)
    waiting[0] = 7
    assert 'stanchion_backlog{store="ledger"} 7.0' in text(metrics)


def test_a_module_gets_the_instrument_it_declared_before() -> None:
    metrics = Metrics()
    assert metrics.counter("trained_total", "Trainings", ("model",)) is metrics.counter("trained_total", "", ("model",))


def test_one_name_cannot_be_two_instruments() -> None:
    metrics = Metrics()
    metrics.counter("trained_total", "Trainings", ("model",))
    with pytest.raises(Misconfigured):
        metrics.counter("trained_total", "Trainings", ("model", "kind"))
    with pytest.raises(Misconfigured):
        metrics.gauge("trained_total", "Trainings", ("model",))


def test_two_registries_know_nothing_of_each_other() -> None:
    one, two = Metrics(), Metrics()
    one.calls.inc("keys:list", "ok")
    assert 'outcome="ok"' in text(one)
    assert 'outcome="ok"' not in text(two)


def test_no_instrument_of_the_house_names_a_tenant() -> None:
    assert "tenant" not in text(Metrics())
