"""The certificate of the listener, and how it is replaced while connections are open."""

import ssl


class TlsError(Exception):
    """Certificate and key cannot be used; the message says which, why, and what to do."""


class Tls:
    """The certificate of a listener.

    Args:
        current: the one of the first handshakes.
    """

    def __init__(self, current: ssl.SSLContext) -> None:
        self._current = current
        self.context = _empty()
        """What the listener is given, once; each handshake takes the certificate of its moment."""
        self.context.sni_callback = self._choose  # called whether a host is named or not

    def replace(self, context: ssl.SSLContext) -> None:
        """From now on handshakes are made with this certificate; connections that are open stay as they are."""
        self._current = context

    def _choose(self, connection: ssl.SSLObject, _host: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current


def load(certificate: str, key: str) -> ssl.SSLContext:
    """A certificate with its key, as files have them at this moment.

    Raises:
        TlsError: a file cannot be read, is no PEM, or the key is encrypted or not that of the certificate.
    """
    context = _empty()

    def refuse_to_ask() -> str:
        raise TlsError(f"{key}: the key is encrypted, and nobody is here to ask for its password: decrypt it")

    for path in (certificate, key):
        try:
            with open(path, "rb"):  # noqa: PTH123 - the shortest way to the error that names the file
                pass
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "its name holds a null byte"
            raise TlsError(f"{path}: the file cannot be read: {why or 'unknown reason'}") from None
    try:
        context.load_cert_chain(certificate, key, refuse_to_ask)
    except OSError as error:
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        if why == "KEY_VALUES_MISMATCH":
            raise TlsError(f"{key}: the key is not that of the certificate in {certificate}") from None
        raise TlsError(f"{certificate}, {key}: not a certificate and its key in PEM ({why})") from None
    return context


def _empty() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context
