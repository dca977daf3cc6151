"""The house's own settings. Each field's description is its documentation: the reference is made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from .errors import Misconfigured
from .module import Settings

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class HttpSettings(Settings):
    """The public listener."""

    host: str = Field("127.0.0.1", description="Address to listen on. Any but a loopback one needs TLS and identity.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    tls_certificate: Path | None = Field(None, description="PEM file of the server's certificate chain.")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's private key.")
    body_bytes: int = Field(8 << 20, ge=1024, le=1 << 30, description="Largest request body, in bytes.")
    seconds: float = Field(60, gt=0, le=3600, description="Longest time a request may take, in seconds.")
    concurrent: int = Field(512, ge=1, description="Requests under way at once; one more is answered 429.")
    drain_seconds: float = Field(30, gt=0, description="How long running requests may take to finish at shutdown.")


class GrpcSettings(Settings):
    """The gRPC listener, at the address, with the certificate and within the limits of the public one."""

    port: int | None = Field(None, ge=0, le=65535, description="Port for gRPC; 0 picks a free one. Unset: none.")


class BackendSettings(Settings):
    """One storage port's engine."""

    use: str = Field("embedded", description="`embedded` keeps it under --data; else the URL in `url` is used.")
    url: str | None = Field(None, description="URL of the engine, such as postgresql://, redis:// or s3://.")

    @field_validator("use")
    @classmethod
    def _known(cls, value: str) -> str:
        known = ("embedded", "memory", "postgres", "redis", "s3", "local")
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return value


class BackendsSettings(Settings):
    """Engines behind the storage ports."""

    sql: BackendSettings = Field(BackendSettings(), description="State and audit log: embedded or postgres.")
    telemetry: BackendSettings = Field(BackendSettings(), description="Ledger and spans: embedded or postgres.")
    keyvalue: BackendSettings = Field(BackendSettings(), description="Small values with expiry: embedded or redis.")
    blobs: BackendSettings = Field(BackendSettings(), description="Files: embedded, local or s3.")
    checkpoints: BackendSettings = Field(
        BackendSettings(), description="A second place for the audit log's checkpoints: embedded (none), local or s3."
    )


class ModulesSettings(Settings):
    """Which modules this process holds."""

    enabled: tuple[str, ...] = Field(
        ("events", "pipelines", "review", "data", "gateway", "features", "registry", "training", "serving"),
        description="Modules built in this process.",
    )


class IssuerSettings(Settings):
    """One issuer of JSON Web Tokens."""

    issuer: str = Field(description="The exact `iss` claim.")
    audience: str = Field(description="The exact `aud` claim.")
    algorithms: tuple[str, ...] = Field(("RS256", "ES256", "EdDSA"), description="Signature algorithms accepted.")
    jwks_url: str | None = Field(None, description="https URL of the issuer's keys.")
    jwks_file: Path | None = Field(None, description="File with the issuer's keys.")
    tenant_claim: str = Field("tenant", description="Claim that holds the tenant.")
    roles_claim: str = Field("roles", description="Claim that holds the roles.")
    scopes_claim: str = Field("scope", description="Claim that holds the scopes.")
    tenants: tuple[str, ...] = Field((), description="Tenants it may speak for; empty: any.")


class IdentitySettings(Settings):
    """How callers prove who they are."""

    mode: Literal["development", "configured"] = Field(
        "development",
        description="`development` makes one admin key and only listens on loopback; `configured` does neither.",
    )
    issuers: tuple[IssuerSettings, ...] = Field((), description="Issuers of JSON Web Tokens that are trusted.")


class SecretsSettings(Settings):
    """Keys that the platform itself needs, by reference: `env:NAME` or `file:/path`. Never the key itself."""

    pepper: str | None = Field(None, description="Reference to the pepper of API keys (32 bytes or more).")
    master_key: str | None = Field(None, description="Reference to the master key of stored data (32 bytes, base64).")
    signing_key: str | None = Field(None, description="Reference to the Ed25519 key that signs packages and the log.")


class MeshSettings(Settings):
    """Calls between processes, over mutual TLS with SPIFFE identities."""

    listen: str | None = Field(None, description="HOST:PORT where other processes reach this one's modules.")
    identity: str | None = Field(None, description="This process's SPIFFE id, spiffe://DOMAIN/NAME.")
    certificate: Path | None = Field(None, description="PEM file of this process's certificate.")
    key: Path | None = Field(None, description="PEM file of its private key.")
    authority: Path | None = Field(None, description="PEM file of the certificate authority of the mesh.")
    peers: tuple[str, ...] = Field((), description="SPIFFE ids that may call this process.")


class PlaceSettings(Settings):
    """Where a module lives that is not in this process."""

    url: str = Field(description="https URL of the other process's mesh listener.")
    identity: str = Field(description="The SPIFFE id it must show.")


class TelemetrySettings(Settings):
    """What is kept of what happened."""

    sample: float = Field(0.02, ge=0, le=1, description="Share of requests whose spans are kept.")
    sample_per_second: float = Field(1, ge=0, description="Requests a second whose spans are kept in any case.")
    retention_days: int = Field(30, ge=1, description="Days after which ledger rows and spans are removed.")
    capture: bool = Field(False, description="Keep inputs and outputs of answers, encrypted, for `capture_days`.")
    capture_days: int = Field(7, ge=1, description="Days after which kept inputs and outputs are removed.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")


class HouseSettings(Settings):
    """All settings but the modules' own."""

    tenant: str = Field("default", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Tenant that owns the system.")
    http: HttpSettings = Field(HttpSettings(), description="The public listener.")
    grpc: GrpcSettings = Field(GrpcSettings(), description="The gRPC listener beside it.")
    modules: ModulesSettings = Field(ModulesSettings(), description="Which modules this process holds.")
    place: dict[str, PlaceSettings] = Field({}, description="Modules that live in other processes.")
    backend: BackendsSettings = Field(BackendsSettings(), description="Engines behind the storage ports.")
    identity: IdentitySettings = Field(IdentitySettings(), description="How callers prove who they are.")
    secrets: SecretsSettings = Field(SecretsSettings(), description="Keys by reference.")
    mesh: MeshSettings = Field(MeshSettings(), description="Calls between processes.")
    telemetry: TelemetrySettings = Field(TelemetrySettings(), description="What is kept of what happened.")

    @property
    def development(self) -> bool:
        """Whether one person works alone on this machine: an admin key is made, one person may promote."""
        return self.identity.mode == "development"


def check_exposure(settings: HouseSettings) -> None:
    """Raise Misconfigured, with everything that is missing, if these settings would expose an unsafe service."""
    missing = []
    exposed = settings.http.host not in LOOPBACK
    given = [file is not None for file in (settings.http.tls_certificate, settings.http.tls_key)]
    if exposed and settings.development:
        missing.append('identity.mode = "configured"')
    # With one of the two it would serve in the clear, which nobody meant.
    if not all(given) and (exposed or any(given)):
        missing.append("http.tls_certificate and http.tls_key")
    if not settings.development or exposed:
        missing += [f"secrets.{name}" for name in SecretsSettings.model_fields if not getattr(settings.secrets, name)]
    if missing:
        raise Misconfigured(
            f"to serve on {settings.http.host}, set " + ", ".join(missing),
            next_step="Set them in stanchion.toml or as STANCHION_<SECTION>__<KEY>, or listen on 127.0.0.1.",
        )


def check_mesh(settings: HouseSettings) -> None:
    """Raise Misconfigured if modules are placed elsewhere, or offered, without an identity to do it with."""
    mesh = settings.mesh
    needed = settings.place or mesh.listen
    parts = {"identity": mesh.identity, "certificate": mesh.certificate, "key": mesh.key, "authority": mesh.authority}
    missing = [f"mesh.{name}" for name, value in parts.items() if value is None]
    if needed and missing:
        raise Misconfigured("calls between processes need " + ", ".join(missing))
    both = sorted(set(settings.place) & set(settings.modules.enabled))
    if both:
        raise Misconfigured(f"placed elsewhere and enabled here: {', '.join(both)}")
