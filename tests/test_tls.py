"""The certificate: taken from its files, refused with a reason, replaced without a gap."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509

from gateway.tls import Tls, TlsError, load
from tests.certificates import Files, make_certificate


@asynccontextmanager
async def listening(tls: Tls) -> AsyncIterator[int]:
    """A server with this certificate, which echoes lines; its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=tls.context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def meet(port: int, files: Files, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that trusts these files and no others."""
    context = ssl.create_default_context(cafile=files.certificate)
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)


def shown(writer: asyncio.StreamWriter) -> int:
    """The number of the certificate that the server has shown."""
    connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


async def close(writer: asyncio.StreamWriter) -> None:
    """The end of a connection."""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_callers_are_shown_the_certificate(host: str, tmp_path: Path) -> None:
    """Whether they name a host (SNI) or have only an address."""
    files = make_certificate(tmp_path)
    async with listening(Tls(load(**files.settings))) as port:
        _, writer = await meet(port, files, host)
        serial = shown(writer)
        await close(writer)

    assert serial == files.serial


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_new_certificate_is_for_new_connections(host: str, tmp_path: Path) -> None:
    """From the next handshake on; who is connected stays connected."""
    old, new = make_certificate(tmp_path, "old"), make_certificate(tmp_path, "new")
    tls = Tls(load(**old.settings))
    async with listening(tls) as port:
        reader, writer = await meet(port, old, host)
        tls.replace(load(**new.settings))
        _, later = await meet(port, new, host)
        serials = shown(writer), shown(later)
        writer.write(b"still here\n")
        line = await reader.readline()
        for each in (writer, later):
            await close(each)

    assert serials == (old.serial, new.serial)
    assert line == b"still here\n"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
async def test_versions_of_tls(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """1.2 and 1.3 are spoken, by the one protocol that there is."""
    files = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=files.certificate)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with listening(Tls(load(**files.settings))) as port:
        _, writer = await asyncio.open_connection("localhost", port, ssl=context)
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        spoken = connection.version(), connection.selected_alpn_protocol()
        await close(writer)

    assert spoken == (version.name.replace("_", "."), "http/1.1")


def test_nothing_older_is_spoken(tmp_path: Path) -> None:
    """TLS 1.1 and before are broken."""
    tls = Tls(load(**make_certificate(tmp_path).settings))

    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls.context.options & ssl.OP_NO_RENEGOTIATION


def refusal(certificate: Path | str, key: Path | str) -> str:
    """Why these files are not taken."""
    with pytest.raises(TlsError) as caught:
        load(str(certificate), str(key))
    return str(caught.value)


def test_bad_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    """Missing, no PEM, of two pairs, encrypted: the message names the file, and no line of a key."""
    one, other = make_certificate(tmp_path, "one"), make_certificate(tmp_path, "other")
    locked = make_certificate(tmp_path, "locked", password=b"secret")
    text = tmp_path / "text"
    text.write_text("no PEM\n")

    assert refusal(tmp_path / "none", one.key) == f"{tmp_path}/none: the file cannot be read: No such file or directory"
    assert refusal(one.certificate, "a\0b").endswith("its name holds a null byte")
    assert refusal(one.certificate, tmp_path).endswith("the file cannot be read: Is a directory")
    assert "the key is not that of the certificate" in refusal(one.certificate, other.key)
    assert "not a certificate and its key in PEM" in refusal(text, one.key)
    assert "not a certificate and its key in PEM" in refusal(one.certificate, text)
    assert "not a certificate and its key in PEM" in refusal(one.key, one.certificate)
    assert "the key is encrypted" in refusal(locked.certificate, locked.key)
