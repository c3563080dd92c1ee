"""Why MongoDB does not answer on a connection that it took: found out by a TLS handshake of our own.

The driver keeps the failure of each server as text only; the classes and codes of a handshake tell it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any

from engine import tls

_IMPLY_TLS = frozenset({"tlscafile", "tlscertificatekeyfile", "tlscertificatekeyfilepassword", "tlscrlfile"})
"""Options with which the driver uses TLS though tls=true was not given."""
LAST_WORDS_S = 0.5
"""A server that refuses our certificate, or has none of ours, says so after the handshake (TLS 1.3)."""


def tls_of(options: Mapping[str, Any]) -> str:
    """What a connection string's options ask for, as text."""
    given = {name.lower(): value for name, value in options.items()}
    if not given.get("tls", given.get("ssl", bool(_IMPLY_TLS & given.keys()))):
        return tls.NO_TLS
    if given.get("tlsinsecure") or given.get("tlsallowinvalidcertificates"):
        return tls.NOT_VERIFIED
    return tls.HOST_NOT_VERIFIED if given.get("tlsallowinvalidhostnames") else tls.VERIFIED


def trouble(
    connection: socket.socket, host: str, at: str, options: Mapping[str, Any], *, by_default: bool = False
) -> str | None:
    """The sentence for what TLS has to do with it; None when it has nothing to.

    Args:
        connection: fresh, with a timeout; it is used up.
        host: the name that a certificate must be for.
        at: the server for people.
        options: of the connection string.
        by_default: TLS is asked for by this program, not by the connection string.
    """
    server = f"MongoDB at {at}"
    asked_for = tls_of(options) != tls.NO_TLS
    way_out = (
        "add tls=false to source.uri if the network is trusted" if by_default else "take tls=true out of source.uri"
    )
    no_tls = f"{server} offers no TLS: turn it on there, or {way_out}."
    try:
        context = _context({name.lower(): value for name, value in options.items()} if asked_for else {})
        with context.wrap_socket(connection, server_hostname=host) as secured:
            if not asked_for:
                return (
                    f"{server} wants TLS: add tls=true to source.uri, and tlsCAFile=FILE for an authority of your own."
                )
            secured.settimeout(LAST_WORDS_S)
            secured.recv(1)
    except TimeoutError:
        return None  # it waits for our first message: TLS is fine
    except ssl.SSLCertVerificationError as error:
        return tls.distrust(error, server, "source.uri", "tlsCAFile")
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
        return no_tls if asked_for else None
    except ssl.SSLError as error:
        if not asked_for or error.reason == "WRONG_VERSION_NUMBER":
            return no_tls if asked_for else None
        return f"{server} refuses our side of TLS ({error.reason}): check tlsCertificateKeyFile in source.uri."
    except OSError:
        return "A file named in source.uri (tlsCAFile, tlsCertificateKeyFile) cannot be read."
    return f"{server} closes the connection after the TLS handshake: it may want a tlsCertificateKeyFile in source.uri."


def _context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """As the driver makes it from the options; without any, one that accepts every certificate."""
    context = ssl.create_default_context(cafile=options.get("tlscafile"))
    is_lax = not options or options.get("tlsinsecure") or options.get("tlsallowinvalidcertificates")
    if is_lax or options.get("tlsallowinvalidhostnames"):
        context.check_hostname = False
    if is_lax:
        context.verify_mode = ssl.CERT_NONE
    if options.get("tlscertificatekeyfile"):
        context.load_cert_chain(options["tlscertificatekeyfile"], password=options.get("tlscertificatekeyfilepassword"))
    return context
