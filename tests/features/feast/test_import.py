"""A Feast registry becomes declarations that can be loaded, with remarks where something has no form here."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from stanchion.core.declaration import Declarations, load_declarations
from stanchion.core.errors import MalformedRequest
from stanchion.features import ServiceSpec, SourceSpec, Table, ViewSpec, feast_declarations

STRING, INT64, DOUBLE, BOOL, BYTES, MOMENT, FLOATS = 2, 4, 5, 7, 1, 8, 16


# A registry in the wire format of Protocol Buffers, written field by field: https://protobuf.dev/programming-guides/encoding
def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def piece(field: int, value: bytes | str) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(content)) + content


def feature(field: int, name: str, kind: int) -> bytes:
    return piece(field, piece(1, name) + number(2, kind))


def entity(name: str, key: str, kind: int = STRING) -> bytes:
    return piece(1, piece(1, piece(1, name) + number(2, kind) + piece(4, key)) + piece(2, b""))


def files(name: str, place: str, *, delta: bool = False, mapping: dict[str, str] | None = None) -> bytes:
    form = piece(1, piece(2, b"")) if delta else b""
    mapped = b"".join(piece(2, piece(1, column) + piece(2, given)) for column, given in (mapping or {}).items())
    return number(1, 1) + mapped + piece(3, "event_time") + piece(11, form + piece(2, place)) + piece(20, name)


def view(name: str, entities: list[str], features: bytes, *, ttl: int, source: bytes) -> bytes:
    spec = piece(1, name) + piece(2, "project") + b"".join(piece(3, each) for each in entities) + features
    spec += piece(6, number(1, ttl) if ttl else b"") + piece(7, source) + number(8, 1)
    return piece(6, piece(1, spec))


STATS = feature(4, "conv_rate", DOUBLE) + feature(4, "trips", INT64) + feature(4, "embedding", FLOATS)
REGISTRY = b"".join(
    [
        entity("driver", "driver_id", INT64),
        entity("customer", "customer_id"),
        piece(3, "1"),
        view("driver_stats", ["driver"], STATS, ttl=86_400, source=files("stats", "file://data/stats.parquet")),
        view(
            "profile",
            ["customer"],
            feature(4, "city", STRING) + feature(4, "member", BOOL) + feature(4, "photo", BYTES),
            ttl=0,
            source=files("profiles", "data/profiles", delta=True, mapping={"town": "city"}),
        ),
        view("pairs", ["driver", "customer"], feature(4, "trips", INT64), ttl=60, source=files("p", "p.parquet")),
        view("lake", ["driver"], feature(4, "score", DOUBLE), ttl=60, source=number(1, 2) + piece(20, "warehouse")),
        piece(
            8,
            piece(
                1,
                piece(1, "ratio")
                + feature(3, "rate_plus", DOUBLE)
                + piece(4, piece(1, "stats") + piece(2, piece(3, piece(1, "driver_stats"))))
                + piece(4, piece(1, "ask") + piece(2, piece(2, number(1, 7) + piece(18, feature(3, "extra", DOUBLE)))))
                + piece(5, piece(1, "ratio") + piece(2, b"\x80\x04pickle")),
            ),
        ),
        piece(
            7,
            piece(
                1,
                piece(1, "activity")
                + piece(3, piece(1, "driver_stats") + feature(2, "conv_rate", DOUBLE))
                + piece(3, piece(1, "profile") + feature(2, "city", STRING) + feature(2, "member", BOOL))
                + piece(3, piece(1, "ratio")),
            ),
        ),
        piece(7, piece(1, piece(1, "profile") + piece(3, piece(1, "profile")))),
    ]
)


def loaded(text: str, tmp_path: Path) -> Declarations:
    file = tmp_path / "features.py"
    file.write_text(text)
    return load_declarations(file)


def test_views_sources_and_services_are_declared(tmp_path: Path) -> None:
    system = loaded(feast_declarations(REGISTRY), tmp_path)
    sources = {spec.name: spec for spec in system.of(SourceSpec)}
    views = {spec.name: spec for spec in system.of(ViewSpec)}
    assert set(views) == {"driver_stats", "profile", "lake"}
    stats = views["driver_stats"]
    assert (stats.entity, stats.ttl) == ("driver_id", timedelta(days=1))
    assert list(stats.row.model_fields) == ["conv_rate", "trips", "embedding"]
    assert stats.row.model_json_schema()["properties"]["embedding"]["anyOf"][0]["items"] == {"type": "number"}
    assert stats.source is not None
    assert stats.source.table == Table("parquet", "data/stats.parquet")
    assert stats.source.time == "event_time"
    assert sources[stats.source.name].row.model_fields["driver_id"].annotation is int
    assert views["profile"].source is not None
    assert views["profile"].source.table == Table("delta", "data/profiles")
    assert views["profile"].select == {"city": '"town"'}
    assert views["lake"].source is None
    services = {spec.name: spec.views for spec in system.of(ServiceSpec)}
    assert services == {"activity": ("driver_stats", "profile"), "profile_service": ("profile",)}


def test_a_stream_view_is_a_view_over_its_batch_source(tmp_path: Path) -> None:
    spec = piece(1, "clicks") + piece(3, "customer") + feature(4, "count", INT64) + piece(6, "a description")
    spec += piece(9, number(1, 60)) + piece(10, files("clicks", "clicks.parquet"))
    registry = entity("customer", "customer_id") + piece(14, piece(1, spec))
    [made] = loaded(feast_declarations(registry), tmp_path).of(ViewSpec)
    assert (made.name, made.ttl, made.entity) == ("clicks", timedelta(seconds=60), "customer_id")
    assert made.source is not None
    assert made.source.table == Table("parquet", "clicks.parquet")


@pytest.mark.parametrize(
    "remark",
    [
        "The feature view 'pairs' is left out: it has 2 entities",
        "'profile' had no time to live",
        "The feature 'photo' of 'profile' has no type",
        "The rows of 'lake' lie in 'warehouse'",
        "The on-demand view 'ratio' computes 'rate_plus' from 'driver_stats', 'extra'",
        "'activity' took 'conv_rate' of 'driver_stats'",
        "The feature service 'activity' also read 'ratio'",
    ],
)
def test_what_has_no_form_here_is_told(remark: str) -> None:
    assert f"# {remark}" in feast_declarations(REGISTRY)


def test_a_name_in_a_registry_cannot_become_code(tmp_path: Path) -> None:
    evil = "x'\"\nraise SystemExit(1) #"
    registry = (
        entity("driver", "driver_id")
        + view(evil, ["driver"], STATS, ttl=1, source=files("s", "p"))
        + view("good", ["driver"], STATS + feature(4, evil, DOUBLE), ttl=1, source=files(evil, evil))
        + piece(7, piece(1, piece(1, evil) + piece(3, piece(1, "good"))))
        + piece(8, piece(1, piece(1, evil) + feature(3, evil, DOUBLE)))
    )
    assert [spec.name for spec in loaded(feast_declarations(registry), tmp_path).of(ViewSpec)] == ["good"]


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"SQLite format 3\x00", piece(3, "1")])
def test_what_is_no_registry_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedRequest):
        feast_declarations(content)


def test_the_command_writes_a_file_that_can_be_served(tmp_path: Path) -> None:
    registry, out = tmp_path / "registry.db", tmp_path / "features.py"
    registry.write_bytes(REGISTRY)
    command = [sys.executable, "-m", "stanchion", "features", "import-feast"]
    done = subprocess.run([*command, str(registry), "--out", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(load_declarations(out).of(ViewSpec)) == 3
    again = subprocess.run([*command, str(registry), "--out", str(out)], capture_output=True, text=True, check=False)
    assert (again.returncode, "exists" in again.stderr) == (2, True)
    told = subprocess.run([*command, str(registry)], capture_output=True, text=True, check=False)
    assert told.stdout == out.read_text()
