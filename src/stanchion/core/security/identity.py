"""Who a process is: certificates with SPIFFE ids, and TLS contexts that check them on both ends.

SPIFFE X.509-SVID: https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md. The private authority here is for
one machine, tests and small installations; certificates of SPIRE or any other authority work the same.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Misconfigured, NotAuthenticated
from .keyfile import create_private, load_or_create, read_private

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
# Shorter than the standard's 2,048 bytes: principals are stored in columns of 200 characters.
_ID = re.compile(r"(?=.{1,180}$)spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM files: a process's certificate, its private key, and the authority that it trusts."""

    certificate: Path
    key: Path
    authority: Path


class Authority:
    """A certificate authority for one trust domain, with ECDSA P-256 keys."""

    def __init__(self, trust_domain: str, certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> None:
        self.trust_domain = trust_domain
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, trust_domain: str, *, now: datetime, days: float = 3650) -> Authority:
        """A new authority. Raises Misconfigured for a name that is no trust domain."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec

        if not _DOMAIN.fullmatch(trust_domain):
            raise Misconfigured(f"{trust_domain!r} is not a SPIFFE trust domain")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{trust_domain} authority"[:64])])
        builder = _builder(name, name, key, now, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(authority=True), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return cls(trust_domain, _signed(builder.add_extension(identifier, critical=False), key), key)

    @classmethod
    def load_or_create(cls, folder: Path, trust_domain: str, *, now: datetime) -> Authority:
        """The authority kept in `authority.key` (mode 0600, key and certificate), made first if there is none.

        Raises Misconfigured if it is of another trust domain.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        made = cls.create(trust_domain, now=now)
        # Both in one file: a process killed between two files would leave an authority without its key.
        both = load_or_create(folder / "authority.key", lambda: _pem(made._key) + made.certificate_pem)
        key = load_pem_private_key(both, password=None)
        certificate = x509.load_pem_x509_certificate(both)
        if certificate.subject != made._certificate.subject or not isinstance(key, EllipticCurvePrivateKey):
            raise Misconfigured(f"{folder.name} holds the authority of another trust domain than {trust_domain}")
        return cls(trust_domain, certificate, key)

    @property
    def certificate_pem(self) -> bytes:
        """The authority's certificate: what every process of the domain must trust."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return self._certificate.public_bytes(Encoding.PEM)

    def issue(self, folder: Path, name: str, *, now: datetime, days: float = 30) -> Credentials:
        """A certificate for `spiffe://<trust domain>/<name>`, stored as NAME.pem, NAME.key and authority.pem.

        The key files have mode 0600. Raises Misconfigured if one of the files is there already, but for the authority.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding

        identity = checked_id(f"spiffe://{self.trust_domain}/{name}")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(x509.Name([]), self._certificate.subject, key, now, days)
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(authority=False), True),
            (x509.ExtendedKeyUsage([x509.OID_CLIENT_AUTH, x509.OID_SERVER_AUTH]), False),
            # Critical, since the subject is empty (RFC 5280, 4.1.2.6).
            (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), True),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        certificate = _signed(builder, self._key).public_bytes(Encoding.PEM)
        base = folder / name.replace("/", ".")
        made = Credentials(base.with_suffix(".pem"), base.with_suffix(".key"), folder / "authority.pem")
        create_private(made.authority, self.certificate_pem)
        if not (create_private(made.key, _pem(key)) and create_private(made.certificate, certificate)):
            raise Misconfigured(f"{base.name} has a certificate already", next_step="Remove its .pem and .key first.")
        return made


def server_context(credentials: Credentials, *, peers: Collection[str]) -> ssl.SSLContext:
    """TLS 1.3 that lets in only clients with a certificate of the authority and one of these SPIFFE ids.

    Raises Misconfigured.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials, peers)
    # Each connection proves itself anew, so a change of peers holds from the next connection on.
    context.num_tickets = 0
    return context


def client_context(credentials: Credentials, *, server: str) -> ssl.SSLContext:
    """TLS 1.3 that speaks only to the server with this SPIFFE id, at whatever host name. Raises Misconfigured."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, credentials, (server,))


def spiffe_id(peer_certificate: Mapping[str, object] | None) -> str | None:
    """The SPIFFE id in what `SSLObject.getpeercert()` gave; None if there is none or not exactly one."""
    names = (peer_certificate or {}).get("subjectAltName", ())
    uris = [name[1] for name in names if name[0] == "URI"] if isinstance(names, tuple) else []
    return uris[0] if len(uris) == 1 and _ID.fullmatch(uris[0]) else None


def id_of_certificate(certificate: x509.Certificate) -> str:
    """The SPIFFE id of a certificate. Raises NotAuthenticated if it has not exactly one."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        uris = []
    if len(uris) != 1 or not _ID.fullmatch(uris[0]):
        raise NotAuthenticated("the certificate names no service")
    return uris[0]


def checked_id(identity: str) -> str:
    """The SPIFFE id, if it is one. Raises Misconfigured."""
    if not _ID.fullmatch(identity):
        raise Misconfigured(f"{identity!r} is not a SPIFFE id such as spiffe://example.org/serving")
    return identity


def _context(protocol: int, credentials: Credentials, allowed: Collection[str]) -> ssl.SSLContext:
    ids = frozenset(checked_id(one) for one in allowed)
    if read_private(credentials.key) is None:
        raise Misconfigured(f"there is no private key at {credentials.key}")
    context = ssl.SSLContext(protocol)
    # The SPIFFE id is checked instead: it says who a process is wherever it runs.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(credentials.authority)
        context.load_cert_chain(credentials.certificate, credentials.key)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"the certificate files of this process cannot be used: {error}") from error
    context.sslobject_class = _checking(ids)
    return context


def _checking(allowed: frozenset[str]) -> type[ssl.SSLObject]:
    class CheckedObject(ssl.SSLObject):
        """Ends the handshake if the peer, whose chain is good, is not one of those expected."""

        def do_handshake(self) -> None:
            super().do_handshake()
            if spiffe_id(self.getpeercert()) not in allowed:
                raise ssl.SSLCertVerificationError("the peer is not a service that was expected here")

    return CheckedObject


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime, days: float
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of other machines may be a little behind.
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
    )


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives.hashes import SHA256

    return builder.sign(key, SHA256())


def _usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
