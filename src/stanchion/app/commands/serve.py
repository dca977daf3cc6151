"""`stanchion run`: train what has no version, serve, drain on SIGTERM."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...core.config import Value
from ...core.errors import Misconfigured, NotFound
from ...core.telemetry.logs import configure_logging
from ...features import Features, ViewSpec
from ...registry import Registry
from ...training import Training, TrainingSpec
from ..grpc.build import grpc_server
from ..http.build import build_app
from ..http.mesh import mesh_listener
from ..server import MESSAGE_BYTES, Listener, bind
from ..server import run as run_servers
from .office import DONE, Options, opened, operator, run
from .progress import follow, summary

if TYPE_CHECKING:
    from ...system.house import House

FIRST = "first version of this model; its hold-out figures are in the model card"


def serve(
    file: Path,
    *,
    host: str | None,
    port: int | None,
    grpc_port: int | None = None,
    data: Path,
    only: str | None,
    train: bool,
    json: bool,
) -> int:
    """Serve the system until SIGTERM; the exit code."""
    http: dict[str, Value] = {}
    if host is not None:
        http["host"] = host
    if port is not None:
        http["port"] = port
    flags: dict[str, Value] = {"http": http} if http else {}
    if grpc_port is not None:
        flags["grpc"] = {"port": grpc_port}
    if only is not None:
        flags["modules"] = {"enabled": [name.strip() for name in only.split(",") if name.strip()]}
    options = Options(data=data, json=json, flags=flags)
    return run(options, lambda: _serve(options, file, train=train), stopped=DONE)


async def _serve(options: Options, file: Path, *, train: bool) -> int:
    async with opened(options, file=file, serving=True) as house:
        configure_logging(json=not sys.stderr.isatty(), level=house.settings.telemetry.log_level, stream=sys.stderr)
        settings = house.settings
        socket = bind(settings.http.host, settings.http.port)
        key_file = await house.development_key() if settings.development else None
        grpc = grpc_server(house)
        public = Listener(
            build_app(house),
            socket,
            tls=_tls(house),
            socket_protocol="websockets-sansio",
            message_bytes=min(settings.http.body_bytes, MESSAGE_BYTES),
        )
        listeners = [public, *mesh_listener(house)]
        if train:
            await train_missing(house, options)
        await fill_features(house, options)
        await house.start()
        url = f"{'http' if listeners[0].tls is None else 'https'}://{settings.http.host}:{listeners[0].port}"

        async def ready() -> None:
            _announce(options, house, url, key_file, None if grpc is None else f"{settings.http.host}:{grpc.port}")

        def draining() -> None:
            house.draining = True

        await run_servers(
            listeners,
            drain_seconds=settings.http.drain_seconds,
            ready=ready,
            draining=draining,
            companions=[] if grpc is None else [grpc],
        )
    return DONE


async def train_missing(house: House, options: Options) -> None:
    """Train every declared model that has no version yet and, in development, put it into production."""
    training, registry = house.find(Training), house.find(Registry)
    if training is None or registry is None or "training" not in house.modules:
        return
    ctx = operator(house.settings.tenant)
    for spec in house.declared.of(TrainingSpec) if house.declared is not None else ():
        try:
            await registry.resolve(ctx, spec.model)
            continue
        except NotFound:
            pass
        report = await follow(training.train(ctx, spec.model), spec.model, quiet=options.json)
        if house.settings.development:
            await registry.promote(ctx, spec.model, report.version, to="production", evidence=FIRST)
        if not options.json:
            sys.stdout.write(summary(report) + "\n")


async def fill_features(house: House, options: Options) -> None:
    """Bring the online side of views over tables up to date, in development: elsewhere a schedule does it."""
    features = house.find(Features)
    if features is None or house.declared is None or "features" not in house.modules or not house.settings.development:
        return
    ctx = operator(house.settings.tenant)
    for spec in house.declared.of(ViewSpec):
        if spec.source is None or spec.source.table is None:
            continue
        rows = 0
        async for step in features.materialise(ctx, spec.name):
            rows += step.rows
            if not options.json and not step.skipped:
                sys.stderr.write(f"{spec.name}: {step.done} of {step.total} partitions, {rows:,} rows\n")


def _announce(options: Options, house: House, url: str, key_file: Path | None, grpc: str | None) -> None:
    if options.json:
        event = {"event": "ready", "url": url, "key_file": str(key_file) if key_file is not None else None}
        if grpc is not None:
            event["grpc"] = grpc
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    else:
        held = ", ".join(house.modules)
        lines = [
            "",
            f"  {house.declared.name if house.declared is not None else 'stanchion'} is ready ({held})",
            f"  API      {url}/v1",
            f"  Console  {url}/console",
            f"  Docs     {url}/docs",
        ]
        if grpc is not None:
            lines.append(f"  gRPC     {grpc}")
        if key_file is not None:
            lines.append(f"  Key      {key_file}  (development; admin of tenant {house.settings.tenant})")
        sys.stdout.write("\n".join([*lines, "", "  Ctrl-C stops.", ""]) + "\n")
    sys.stdout.flush()


def _tls(house: House) -> ssl.SSLContext | None:
    http = house.settings.http
    if http.tls_certificate is None or http.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(http.tls_certificate, http.tls_key)
    except OSError as error:
        raise Misconfigured(
            f"http.tls_certificate {http.tls_certificate} and http.tls_key {http.tls_key} cannot be used: "
            f"{error.strerror or error}",
            next_step="Name PEM files that belong together and that this account may read.",
        ) from error
    return context
