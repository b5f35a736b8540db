"""A time stamping authority of the tests' own: a root certificate, a signing certificate, and ``openssl ts``."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONFIGURATION = """
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


@dataclass
class Authority:
    """Answers time stamp queries as an authority does. away: it answers 503."""

    folder: Path
    root: x509.Certificate
    away: bool = False

    @classmethod
    def create(cls, folder: Path, *, now: datetime) -> Authority:
        folder.mkdir()
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = _certificate("Test Root", root_key, "Test Root", root_key, now=now, authority=True)
        signer = _certificate("Test TSA", key, "Test Root", root_key, now=now, authority=False)
        (folder / "tsa.pem").write_bytes(signer.public_bytes(Encoding.PEM))
        (folder / "tsa.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / "tsa.cnf").write_text(CONFIGURATION.format(folder=folder))
        (folder / "serial").write_text("01\n")
        return cls(folder, root)

    @property
    def root_pem(self) -> str:
        return self.root.public_bytes(Encoding.PEM).decode()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            return httpx.Response(503)
        assert request.headers["Content-Type"] == "application/timestamp-query"
        query, reply = self.folder / "query.tsq", self.folder / "reply.tsr"
        query.write_bytes(request.content)
        parts = {"-queryfile": query, "-out": reply, "-signer": self.folder / "tsa.pem"}
        parts |= {"-inkey": self.folder / "tsa.key", "-config": self.folder / "tsa.cnf"}
        words = [str(word) for pair in parts.items() for word in pair]
        subprocess.run(["openssl", "ts", "-reply", *words], check=True, capture_output=True)
        return httpx.Response(200, content=reply.read_bytes())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    now: datetime,
    authority: bool,
) -> x509.Certificate:
    usage = x509.KeyUsage(
        not authority, not authority, False, False, False, authority, authority, False, False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if not authority:
        stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(stamping, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
