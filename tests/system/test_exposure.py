"""Configured mode over TLS: secrets by reference, keys and tokens, a second person; and no exposure without them."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import secrets
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

Run = Callable[..., subprocess.CompletedProcess[str]]
MODEL = "customer-churn-v2"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "churn" / "system.py"
FEATURES = {"customer_id": "12345", "tenure_months": 24, "monthly_charges": 89.99}
PREDICT = {"model_id": MODEL, "features": FEATURES}
ISSUER, AUDIENCE = "https://issuer.example", "stanchion"


def pem(key: Any) -> bytes:
    content: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return content


def certificate(folder: Path) -> None:
    """A server certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stanchion test")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(pem(key))


def key_material() -> dict[str, str]:
    return {
        "CHURN_PEPPER": base64.b64encode(secrets.token_bytes(32)).decode(),
        "CHURN_MASTER": base64.b64encode(secrets.token_bytes(32)).decode(),
        "CHURN_SIGNING": pem(ed25519.Ed25519PrivateKey.generate()).decode(),
    }


def settings(folder: Path) -> dict[str, str]:
    """The environment of a configured system."""
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(folder / "jwks.json"), "algorithms": ["ES256"]}
    return {
        "STANCHION_IDENTITY__MODE": "configured",
        "STANCHION_IDENTITY__ISSUERS": json.dumps([issuer]),
        "STANCHION_HTTP__TLS_CERTIFICATE": str(folder / "server.pem"),
        "STANCHION_HTTP__TLS_KEY": str(folder / "server.key"),
        "STANCHION_SECRETS__PEPPER": "env:CHURN_PEPPER",
        "STANCHION_SECRETS__MASTER_KEY": "env:CHURN_MASTER",
        "STANCHION_SECRETS__SIGNING_KEY": "env:CHURN_SIGNING",
        **key_material(),
    }


@dataclass
class Exposed:
    """A configured system over TLS, and what makes tokens for it."""

    running: Any
    folder: Path
    env: dict[str, str]
    signing: ec.EllipticCurvePrivateKey
    commands: Run

    def ask(self, method: str, path: str, body: object = None, *, credential: str | None = None) -> tuple[int, Any]:
        place = urlsplit(self.running.url)
        trust = ssl.create_default_context(cafile=str(self.folder / "server.pem"))
        connection = http.client.HTTPSConnection(str(place.hostname), place.port, timeout=60, context=trust)
        headers = {"Content-Type": "application/json"}
        if credential is not None:
            headers["Authorization"] = f"Bearer {credential}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def key(self, name: str, role: str) -> str:
        done = self.commands(
            "keys", "create", "--name", name, "--role", role, "--data", self.running.data, "--json",
            cwd=self.folder, env=self.env,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        secret: str = json.loads(done.stdout)["secret"]
        return secret

    def token(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600,
            "tenant": "default", "roles": ["predictor"], **changes,
        }  # fmt: skip
        return jwt.encode(claims, pem(self.signing), algorithm="ES256", headers={"kid": "one"})


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory, begin: Callable[..., Any], commands: Run) -> Exposed:
    folder = tmp_path_factory.mktemp("exposed")
    certificate(folder)
    signing = ec.generate_private_key(ec.SECP256R1())
    words = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(signing.public_key()))
    (folder / "jwks.json").write_text(json.dumps({"keys": [{**words, "kid": "one", "use": "sig", "alg": "ES256"}]}))
    env = settings(folder)
    done = commands("train", EXAMPLE, MODEL, "--data", folder / "data", "--json", cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return Exposed(begin(folder / "data", env=env), folder, env, signing, commands)


def test_it_serves_over_tls_with_keys_from_the_command_line_and_makes_none_itself(exposed: Exposed) -> None:
    assert exposed.running.url.startswith("https://127.0.0.1:")
    assert exposed.ask("GET", "/readyz")[0] == 200
    assert exposed.ask("POST", "/v1/predictions", PREDICT)[0] == 401
    status, body = exposed.ask("POST", "/v1/predictions", PREDICT, credential=exposed.key("caller", "predictor"))
    assert (status, body["served_by"], body["model_version"]) == (200, "primary", "1.0.0")
    data = exposed.running.data
    assert not (data / "dev.key").exists()
    assert not (data / "keys").exists()


def test_plain_http_is_not_answered(exposed: Exposed) -> None:
    place = urlsplit(exposed.running.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        connection.request("GET", "/healthz")
        connection.getresponse()
    connection.close()


def test_no_key_material_is_in_the_data_folder_or_the_log(exposed: Exposed) -> None:
    exposed.key("another", "viewer")
    marks = [
        exposed.env["CHURN_PEPPER"],
        exposed.env["CHURN_MASTER"],
        exposed.env["CHURN_SIGNING"].splitlines()[1],
    ]
    sought = [mark.encode() for mark in marks] + [base64.b64decode(mark) for mark in marks]
    for file in sorted(exposed.running.data.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            assert not any(mark in content for mark in sought), file


def test_other_secrets_do_not_open_the_same_folder(exposed: Exposed, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(exposed.running.data, copy)
    done = exposed.commands(
        "keys", "list", "--data", copy, "--json", cwd=exposed.folder, env={**exposed.env, **key_material()}
    )
    assert done.returncode == 1
    problem = json.loads(done.stderr)
    assert problem["code"] == "not_trustworthy"
    assert "not signed by a trusted key" in problem["detail"] or "another log" in problem["detail"]


def test_promotion_needs_a_second_person(exposed: Exposed) -> None:
    first, second = exposed.key("first", "admin"), exposed.key("second", "admin")
    path = f"/v1/models/{MODEL}/promotions"
    staging = {"version": "1.0.0", "to": "staging", "evidence": "hold-out figures"}
    assert exposed.ask("POST", path, staging, credential=first)[1]["status"] == "done"
    production = {**staging, "to": "production"}
    status, asked = exposed.ask("POST", path, production, credential=first)
    assert (status, asked["status"]) == (202, "pending")
    status, refused = exposed.ask("POST", path, production, credential=first)
    assert (status, refused["code"]) == (403, "not_allowed")
    status, decided = exposed.ask("POST", path, production, credential=second)
    assert (status, decided["status"]) in ((200, "done"), (201, "done"))
    assert decided["requested_by"] != decided["decided_by"]


def test_a_token_of_the_issuer_is_taken_for_this_audience_only(exposed: Exposed) -> None:
    assert exposed.ask("POST", "/v1/predictions", PREDICT, credential=exposed.token())[0] == 200
    assert exposed.ask("GET", "/v1/keys", credential=exposed.token())[0] == 403
    now = int(time.time())
    wrong: dict[str, dict[str, Any]] = {
        "audience": {"aud": "another"},
        "issuer": {"iss": "https://another.example"},
        "expired": {"iat": now - 700, "exp": now - 100},
        "no tenant": {"tenant": None},
    }
    for name, changes in wrong.items():
        status, body = exposed.ask("POST", "/v1/predictions", PREDICT, credential=exposed.token(**changes))
        assert (name, status, body["code"]) == (name, 401, "not_authenticated")
    forged = Exposed(
        exposed.running, exposed.folder, exposed.env, ec.generate_private_key(ec.SECP256R1()), exposed.commands
    )
    assert exposed.ask("POST", "/v1/predictions", PREDICT, credential=forged.token())[0] == 401


def test_an_exposed_host_is_refused_until_everything_is_set(commands: Run, tmp_path: Path) -> None:
    certificate(tmp_path)
    env = settings(tmp_path)
    needed = {
        "STANCHION_IDENTITY__MODE": "identity.mode",
        "STANCHION_HTTP__TLS_CERTIFICATE": "http.tls_certificate",
        "STANCHION_SECRETS__PEPPER": "secrets.pepper",
        "STANCHION_SECRETS__MASTER_KEY": "secrets.master_key",
        "STANCHION_SECRETS__SIGNING_KEY": "secrets.signing_key",
    }
    bare = commands("run", EXAMPLE, "--host", "0.0.0.0", "--port", "0", cwd=tmp_path)
    assert bare.returncode == 2
    assert [name for name in needed.values() if name not in bare.stderr] == []
    for variable, name in needed.items():
        given = {key: value for key, value in env.items() if key != variable}
        done = commands("run", EXAMPLE, "--host", "0.0.0.0", "--port", "0", "--json", cwd=tmp_path, env=given)
        assert done.returncode == 2
        problem = json.loads(done.stderr)
        assert name in problem["detail"] and problem["next_step"]
        assert [other for other in needed.values() if other != name and other in problem["detail"]] == []
    assert not (tmp_path / ".stanchion").exists()


UNUSABLE = {
    "a secret that is not there": ({"STANCHION_SECRETS__PEPPER": "env:NOTHING"}, "env:NOTHING, which gives nothing"),
    "a secret written out": ({"STANCHION_SECRETS__PEPPER": "c2VjcmV0LWluLXRoZS1vcGVu"}, "must be a reference"),
    "a short secret": ({"CHURN_MASTER": base64.b64encode(b"short").decode()}, "holds 5 bytes; 32 are needed"),
    "no key in the PEM": ({"CHURN_SIGNING": "nothing"}, "holds no private key"),
    "no certificate": ({"STANCHION_HTTP__TLS_CERTIFICATE": "none.pem"}, "none.pem"),
    "no certificate in the file": ({"STANCHION_HTTP__TLS_CERTIFICATE": str(EXAMPLE)}, "tls_certificate"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_secrets_and_certificates_that_cannot_be_used_stop_the_start(commands: Run, tmp_path: Path, name: str) -> None:
    certificate(tmp_path)
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    changes, message = UNUSABLE[name]
    done = commands(
        "run", EXAMPLE, "--host", "127.0.0.1", "--port", "0", "--no-train", "--data", tmp_path / "data",
        cwd=tmp_path, env={**settings(tmp_path), **changes},
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr and "  next: " in done.stderr and "Traceback" not in done.stderr
    assert "c2VjcmV0LWluLXRoZS1vcGVu" not in done.stderr
