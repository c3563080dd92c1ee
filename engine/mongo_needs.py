"""What a connection string of MongoDB needs of this machine and of its own login: looked at before anything is connected."""

from __future__ import annotations

import importlib.util
import os
import ssl

from engine.errors import UsageError
from engine.mongo_uri import MongoUri

_FILES = {"tlscafile": "tlsCAFile", "tlscertificatekeyfile": "tlsCertificateKeyFile", "tlscrlfile": "tlsCRLFile"}
_ONLY_WITH_TLS = {
    **_FILES,
    "tlscertificatekeyfilepassword": "tlsCertificateKeyFilePassword",
    "tlsallowinvalidcertificates": "tlsAllowInvalidCertificates",
    "tlsallowinvalidhostnames": "tlsAllowInvalidHostnames",
    "tlsinsecure": "tlsInsecure",
}
_USER_LENGTH = 60
_PACKAGES = {
    "snappy": (("snappy",), "python-snappy"),
    "zstd": (("compression.zstd", "backports.zstd", "zstandard"), "pymongo[zstd]"),
}
"""Compressors: modules, one of which is needed, and the package to install."""
_MECHANISM_PACKAGES = {
    "MONGODB-AWS": (("pymongo_auth_aws",), "pymongo[aws]"),
    "GSSAPI": (("kerberos", "winkerberos"), "pymongo[gssapi]"),
}
_ENVIRONMENTS = ("azure", "gcp", "k8s", "test")


def require_usable(uri: MongoUri) -> None:
    """What is there and complete; raises UsageError with what is missing and what to do."""
    if uri.is_srv and not _is_there("dns"):
        raise UsageError(
            "mongodb+srv:// in source.uri needs the package dnspython, which is not installed here: install it, or write "
            "mongodb:// with the names of the servers."
        )
    if " " in uri.database:
        raise UsageError("source.uri: the name of a MongoDB database cannot hold blanks.")
    _require_login(uri)
    _require_files(uri)


def left_out(uri: MongoUri) -> list[str]:
    """A sentence for each option, and each compressor, that the connection goes on without."""
    return [*uri.warnings, *_missing_compressors(uri)]


def _missing_compressors(uri: MongoUri) -> list[str]:
    return [
        f"source.uri: the compressor {name} is left out: the package {package} is not installed here."
        for name, (modules, package) in _PACKAGES.items()
        if name in uri.options.get("compressors", "").split(",") and not any(map(_is_there, modules))
    ]


def file_that_fails(uri: MongoUri) -> str:
    """The option whose file TLS cannot use, after the driver has failed at one of them; empty when none is found."""
    for key, name in _FILES.items():
        if key not in uri.options:
            continue
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        path = os.path.expanduser(uri.options[key])
        try:
            if key == "tlscertificatekeyfile":
                password = uri.options.get("tlscertificatekeyfilepassword", "")
                context.load_cert_chain(path, password=password)
            else:
                context.load_verify_locations(path)
        except (OSError, ValueError):
            return name
    return ""


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _require_login(uri: MongoUri) -> None:
    mechanism = uri.options.get("authmechanism", "DEFAULT")
    properties = uri.properties
    user = "".join(character if character.isprintable() else "?" for character in (uri.user or "")[:_USER_LENGTH])
    if mechanism in _MECHANISM_PACKAGES:
        modules, package = _MECHANISM_PACKAGES[mechanism]
        if not any(map(_is_there, modules)):
            raise UsageError(
                f"authMechanism={mechanism} in source.uri needs the package {package}, which is not installed here: install it "
                "beside mongopg-tui, or log in another way."
            )
    match mechanism:
        case "MONGODB-X509":
            if uri.password:
                raise UsageError(
                    "source.uri: authMechanism=MONGODB-X509 takes no password: the certificate is the login."
                )
            if "tlscertificatekeyfile" not in uri.options:
                raise UsageError(
                    "source.uri: authMechanism=MONGODB-X509 logs in by a certificate: name its file as tlsCertificateKeyFile."
                )
        case "MONGODB-AWS":
            if bool(uri.user) != bool(uri.password):
                raise UsageError(
                    "source.uri: authMechanism=MONGODB-AWS takes an access key and its secret as user and password, or none."
                )
        case "MONGODB-OIDC":
            _require_oidc(uri, properties)
        case _ if mechanism != "DEFAULT" and not uri.user:
            raise UsageError(
                f"source.uri: authMechanism={mechanism} needs a user: mongodb://user:password@host/database."
            )
        case "GSSAPI":
            pass  # the ticket is the password
        case _ if uri.user and not uri.password:
            raise UsageError(
                f"source.uri names the user {user} and no password: set MONGOPG_SOURCE_PASSWORD (source.password), or give -W "
                "to be asked for it."
            )
    is_outside = mechanism in ("MONGODB-X509", "MONGODB-AWS", "GSSAPI", "MONGODB-OIDC")
    if is_outside and uri.options.get("authsource", "$external") != "$external":
        raise UsageError(f"source.uri: with authMechanism={mechanism} authSource is $external: take authSource out.")


def _require_oidc(uri: MongoUri, properties: dict[str, str]) -> None:
    environment = properties.get("ENVIRONMENT")
    if uri.password:
        raise UsageError("source.uri: authMechanism=MONGODB-OIDC takes no password.")
    if environment not in _ENVIRONMENTS:
        raise UsageError(
            "source.uri: authMechanism=MONGODB-OIDC needs authMechanismProperties=ENVIRONMENT:NAME, NAME being one of "
            f"{', '.join(_ENVIRONMENTS)}."
        )
    if environment in ("azure", "gcp") and not properties.get("TOKEN_RESOURCE"):
        raise UsageError(
            f"source.uri: ENVIRONMENT:{environment} in authMechanismProperties needs TOKEN_RESOURCE:AUDIENCE beside it."
        )
    if environment == "test" and uri.user:
        raise UsageError("source.uri: ENVIRONMENT:test in authMechanismProperties takes no user.")


def _require_files(uri: MongoUri) -> None:
    if False in (uri.is_on("tls"), uri.is_on("ssl")):
        contradicting = [name for key, name in _ONLY_WITH_TLS.items() if uri.options.get(key, "false") != "false"]
        if contradicting:
            raise UsageError(f"source.uri says tls=false, and {contradicting[0]}, which is for TLS: take one out.")
    for key, name in _FILES.items():
        if key in uri.options:
            try:
                with open(os.path.expanduser(uri.options[key]), "rb"):
                    pass
            except (OSError, ValueError) as error:
                reason = (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
                raise UsageError(f"The file that {name} in source.uri names cannot be read: {reason}.") from None
