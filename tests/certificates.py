"""A certificate authority of the tests' own, and what it signs."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cardtrail.protocol.token import thumbprint_of

_DAY = dt.timedelta(days=1)


class Authority:
    """Signs certificates; keeps its files in `folder`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        whole = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._draft(self._name, self._key).add_extension(whole, critical=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def certificate(self, name: str) -> Path:
        """Return a file with the certificate and key of `name`, good for 127.0.0.1 and for clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        signed = self._draft(subject, key).add_extension(address, critical=False).sign(self._key, hashes.SHA256())
        file = self._folder / f"{name}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(signed.public_bytes(Encoding.PEM) + private)
        return file

    def _draft(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return x509.CertificateBuilder(
            self._name, subject, key.public_key(), x509.random_serial_number(), now - _DAY, now + _DAY
        )

    def client(self, certificate: Path | None) -> ssl.SSLContext:
        """Return what a client connects with that trusts this authority and shows `certificate`."""
        context = ssl.create_default_context(cafile=str(self.file))
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context


def thumbprint(certificate: Path) -> str:
    """Return the thumbprint of the certificate in a file."""
    return thumbprint_of(x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER))
