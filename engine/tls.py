"""What both ends share about TLS: which servers need it, how it is called, and why a certificate was not accepted."""

from __future__ import annotations

import ipaddress
import ssl

VERIFIED = "TLS, verified"
HOST_NOT_VERIFIED = "TLS, host not verified"
NOT_VERIFIED = "TLS, not verified"
NO_TLS = "no TLS"

_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
# X509_V_ERR_* of OpenSSL's x509_vfy.h
_NOT_YET_VALID = 9
_EXPIRED = 10
_OTHER_HOST = frozenset({62, 64})
_NO_AUTHORITY = frozenset({2, 18, 19, 20, 21})


def is_local(host: str) -> bool:
    """A Unix socket's folder, or a name or address of the loopback interface: no network to protect from."""
    if host.startswith("/") or host.lower() in _LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address.is_loopback or (mapped is not None and mapped.is_loopback)  # Python 3.11 does not look inside


def is_weak(tls: str, *, local: bool) -> bool:
    """What is sent could be read or forged in the network, and people must see that."""
    return tls in (NOT_VERIFIED, HOST_NOT_VERIFIED) or (tls == NO_TLS and not local)


def distrust(error: ssl.SSLCertVerificationError, server: str, setting: str, authority_option: str) -> str:
    """One sentence that says what is wrong with a certificate and what to do.

    Args:
        error: what verifying it raised; told by its code, never by its text.
        server: "MongoDB at db1:27017".
        setting: where the connection string is: "source.uri".
        authority_option: the option of it that names a file of authorities.
    """
    if error.verify_code == _EXPIRED:
        return f"The certificate of {server} has expired: renew it on the server, or set this machine's clock."
    if error.verify_code == _NOT_YET_VALID:
        return f"The certificate of {server} is not valid yet: set this machine's clock, or the server's."
    if error.verify_code in _OTHER_HOST:
        return f"The certificate of {server} is for another host name: give the name that it was made for in {setting}."
    if error.verify_code in _NO_AUTHORITY:
        return (
            f"The certificate of {server} is not signed by an authority that is trusted here: "
            f"name a file with that authority as {authority_option} in {setting}."
        )
    return f"The certificate of {server} cannot be verified (OpenSSL's code {error.verify_code})."
