"""What TLS a connection to PostgreSQL is made with: the meaning of libpq's sslmode and the files beside it.

https://www.postgresql.org/docs/18/libpq-ssl.html#LIBPQ-SSL-PROTECTION, initialize_SSL of fe-secure-openssl.c.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.libpq.home import home_folder
from engine.libpq.resolve import SETTING, Conninfo, Endpoint

_ALPN = "postgresql"
"""What PostgreSQL 17 wants to hear when TLS comes first."""
_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


class _Context(ssl.SSLContext):
    """Verifies another name than that of the address it connects to."""

    server_name: str | None = None

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As `ssl.SSLContext.wrap_bio`, for `server_name`."""
        options["server_hostname"] = self.server_name
        return super().wrap_bio(*arguments, **options)


def context_for(conninfo: Conninfo, endpoint: Endpoint, mode: str, *, by_system: bool) -> ssl.SSLContext:
    """What TLS with one endpoint is made with.

    Args:
        mode: one of libpq's sslmode, but `disable`.
        by_system: certificates are trusted as this machine trusts them, where no file of authorities is named or lies in
            its usual place.

    Raises:
        UsageError: a file cannot be read, or is not what it should be.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = mode == "verify-full"
    context.server_name = None if conninfo.values.get("sslsni") == "0" else endpoint.host
    context.set_alpn_protocols([_ALPN])
    authorities = _authorities(conninfo, mode, by_system=by_system)
    verifies = mode in ("verify-ca", "verify-full") or (mode == "require" and authorities is not None)
    context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    if verifies:
        if authorities is None:
            context.load_default_certs()
        else:
            _load(conninfo, "sslrootcert", authorities, lambda: context.load_verify_locations(cafile=authorities))
        _load_revocations(conninfo, context)
    if conninfo.values.get("sslcertmode") != "disable":
        _load_certificate(conninfo, context)
    _limit_versions(conninfo, context)
    return context


def dot_postgresql(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """A file of libpq's folder in the home directory; None when it is not there."""
    home = home_folder(environment)
    path = home / ".postgresql" / name if home is not None else None
    return str(path) if path is not None and path.is_file() else None


def _authorities(conninfo: Conninfo, mode: str, *, by_system: bool) -> str | None:
    """The file of them; None for those of the system, or for none."""
    named = conninfo.values.get("sslrootcert")
    if named == "system":
        return None
    file = named or dot_postgresql("root.crt")
    if file is None and mode in ("verify-ca", "verify-full") and not by_system:
        raise UsageError(
            f"sslmode={mode} of {_origin(conninfo, 'sslmode')} needs the authorities that it trusts: name a file as "
            "sslrootcert, or write sslrootcert=system for those of this machine (with verify-full)."
        )
    return file


def _load_revocations(conninfo: Conninfo, context: ssl.SSLContext) -> None:
    values = conninfo.values
    file, folder = values.get("sslcrl") or None, values.get("sslcrldir") or None
    if file is None and folder is None:
        file = dot_postgresql("root.crl")
    if file is None and folder is None:
        return
    if file is not None:
        _load(conninfo, "sslcrl", file, lambda: context.load_verify_locations(cafile=file))
    if folder is not None:
        _load(conninfo, "sslcrldir", folder, lambda: context.load_verify_locations(capath=folder))
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _load_certificate(conninfo: Conninfo, context: ssl.SSLContext) -> None:
    """The client's certificate, if there is one."""
    values = conninfo.values
    certificate = values.get("sslcert") or dot_postgresql("postgresql.crt")
    if certificate is None:
        return
    key = values.get("sslkey") or dot_postgresql("postgresql.key")
    word = values.get("sslpassword", "")
    _load(
        conninfo,
        "sslkey" if key else "sslcert",
        key or certificate,
        lambda: context.load_cert_chain(certificate, key, word),
    )


def _limit_versions(conninfo: Conninfo, context: ssl.SSLContext) -> None:
    context.minimum_version = _version(conninfo, "ssl_min_protocol_version") or ssl.TLSVersion.TLSv1_2
    highest = _version(conninfo, "ssl_max_protocol_version")
    if highest is not None:
        if highest < context.minimum_version:
            raise UsageError(
                f"ssl_max_protocol_version of {_origin(conninfo, 'ssl_max_protocol_version')} is below the lowest version "
                "(ssl_min_protocol_version, TLSv1.2 without it)."
            )
        context.maximum_version = highest


def _version(conninfo: Conninfo, name: str) -> ssl.TLSVersion | None:
    text = conninfo.values.get(name, "")
    if not text:
        return None
    known = {version.lower(): number for version, number in _VERSIONS.items()}
    if text.lower() not in known:
        raise UsageError(f"{name} of {_origin(conninfo, name)} must be one of {', '.join(_VERSIONS)}.")
    return known[text.lower()]


def _load(conninfo: Conninfo, name: str, path: str, load: Any) -> None:
    """Load a file; OpenSSL's own error names neither the file nor the parameter."""
    try:
        load()
    except ssl.SSLError as error:
        what = (
            "a certificate and its key, or sslpassword is not its password" if name in ("sslkey", "sslcert") else "one"
        )
        raise UsageError(
            f"{name} of {_origin(conninfo, name)} names a file that is not {what}: {path} ({error.reason or 'no PEM'})."
        ) from None
    except OSError:
        raise UsageError(f"{name} of {_origin(conninfo, name)} names a file that cannot be read: {path}.") from None


def check_files(conninfo: Conninfo) -> None:
    """Refuse files that are named and cannot be read, also where this connection would not need them.

    Raises:
        UsageError: the sentence names the parameter and the file.
    """
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir"):
        path = conninfo.values.get(name)
        if path and path != "system" and conninfo.values.get("sslmode") != "disable":
            needed = os.R_OK | (os.X_OK if Path(path).is_dir() else 0)
            if not os.access(path, needed):
                raise UsageError(f"{name} of {_origin(conninfo, name)} names a file that cannot be read: {path}.")


def _origin(conninfo: Conninfo, name: str) -> str:
    return conninfo.origins.get(name, SETTING)
