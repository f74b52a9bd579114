"""What may be different around a gateway: names that do not resolve, certificates of our own, less patience."""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from socket import gaierror
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway import reply
from gateway.upstream import lifetime

NAME = "models.test"
"""A host name that only our name service knows."""


class Contexts(NamedTuple):
    """Both ends of a TLS connection between us."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@cache
def contexts() -> Contexts:
    """A server with a certificate for this host, and a client that trusts it, and nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chain.pem"
        path.write_bytes(secret + pem)
        server.load_cert_chain(path)
    return Contexts(server, ssl.create_default_context(cadata=pem.decode()))


@contextmanager
def trusting_us() -> Iterator[None]:
    """The gateway's connections trust our certificate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifetime, "default_context", lambda: contexts().client)
        yield


@contextmanager
def names_fail(times: int) -> Iterator[None]:
    """`NAME` does not resolve so many times; then it is this host."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo
    asked = 0

    async def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        if host == NAME:
            asked += 1
            if asked <= times:
                raise gaierror(-2, "Name or service not known")
            host = "127.0.0.1"
        return await real(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "getaddrinfo", getaddrinfo)
        yield


def names_fail_times(times: int) -> Callable[[], AbstractContextManager[None]]:
    """The world in which that is so."""
    return partial(names_fail, times)


@contextmanager
def impatient_with_readers() -> Iterator[None]:
    """A caller who takes nothing of a stream for a short while counts as gone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reply, "STALL_SECONDS", 0.2)
        yield
