"""Every keyword of libpq up to PostgreSQL 18 with what becomes of it here, and words of other tools.

https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Treatment = Literal["honoured", "ignored", "refused"]


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword of libpq."""

    name: str
    treatment: Treatment
    """A word that is `refused` is so whatever its value, but for those in `words`, which ask for nothing."""
    variable: str
    """The environment variable that serves where the string and the service are silent; empty when there is none."""
    note: str
    """What it does here, or why not: for documents, and the second half of a refusal."""
    words: tuple[str, ...] = ()
    """The values that are taken; empty for any."""
    refused_words: tuple[str, ...] = ()
    """Values that libpq takes and that are refused here."""
    advice: str = ""
    """What to do instead, where it is refused."""


SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_ON_OFF = ("0", "1")
_NUMBER = "a whole number"

KEYWORDS = (
    Keyword("host", "honoured", "PGHOST", "names, addresses and socket folders, tried in turn"),
    Keyword("hostaddr", "honoured", "PGHOSTADDR", "goes to this address; `host` is still what a certificate is checked for"),
    Keyword("port", "honoured", "PGPORT", "one for all hosts, or one for each"),
    Keyword("dbname", "honoured", "PGDATABASE", "without it, the database is called as the user"),
    Keyword("user", "honoured", "PGUSER", "without it, the user of the operating system"),
    Keyword("password", "honoured", "PGPASSWORD", "better kept in `target.password` or `~/.pgpass`"),
    Keyword("passfile", "honoured", "PGPASSFILE", "instead of `~/.pgpass`"),
    Keyword("service", "honoured", "PGSERVICE", "a section of PGSERVICEFILE, `~/.pg_service.conf` or PGSYSCONFDIR's"),
    Keyword(
        "require_auth", "refused", "PGREQUIREAUTH", "a login cannot be limited to some methods",
        advice="leave it out; sslmode=verify-full makes sure of the server before a password is sent",
    ),
    Keyword(
        "channel_binding", "honoured", "PGCHANNELBINDING", "logins are made without channel binding",
        words=("disable", "prefer", "require"), refused_words=("require",),
        advice="leave it out, and name sslmode=verify-full, which makes sure of the server by its certificate",
    ),
    Keyword("connect_timeout", "honoured", "PGCONNECT_TIMEOUT", "seconds for each host; 5 without it"),
    Keyword("client_encoding", "ignored", "PGCLIENTENCODING", "text is sent as UTF-8 always"),
    Keyword("options", "honoured", "PGOPTIONS", "settings of the server, as far as they are not this program's own"),
    Keyword("application_name", "ignored", "PGAPPNAME", "sessions are called mongopg-tui and the run"),
    Keyword("fallback_application_name", "ignored", "", "as `application_name`"),
    Keyword("keepalives", "honoured", "", "1 without it", words=_ON_OFF),
    Keyword("keepalives_idle", "honoured", "", "seconds; 15 without it"),
    Keyword("keepalives_interval", "honoured", "", "seconds; 5 without it"),
    Keyword("keepalives_count", "honoured", "", "3 without it"),
    Keyword("tcp_user_timeout", "honoured", "", "milliseconds; 30,000 without it"),
    Keyword(
        "replication", "refused", "", "a replication session runs no ordinary statements",
        words=("false", "off", "no", "0"), advice="leave it out",
    ),
    Keyword(
        "gssencmode", "honoured", "PGGSSENCMODE", "there is no GSSAPI encryption here",
        words=("disable", "prefer", "require"), refused_words=("require",), advice="encrypt with TLS: sslmode=verify-full",
    ),
    Keyword(
        "sslmode", "honoured", "PGSSLMODE",
        "without it, `prefer` on this machine and `verify-full` elsewhere, which is stricter than psql", words=SSL_MODES,
    ),
    Keyword(
        "sslnegotiation", "honoured", "PGSSLNEGOTIATION", "`direct` wants PostgreSQL 17 and sslmode=require or stricter",
        words=("postgres", "direct"),
    ),
    Keyword("sslcompression", "ignored", "PGSSLCOMPRESSION", "libpq ignores it, too"),
    Keyword("sslcert", "honoured", "PGSSLCERT", "`~/.postgresql/postgresql.crt` without it"),
    Keyword("sslkey", "honoured", "PGSSLKEY", "`~/.postgresql/postgresql.key` without it"),
    Keyword("sslpassword", "honoured", "", "of the file in `sslkey`"),
    Keyword(
        "sslcertmode", "honoured", "PGSSLCERTMODE", "whether a server asks for a certificate cannot be seen here",
        words=("disable", "allow", "require"), refused_words=("require",),
        advice="leave it out: the certificate is sent when asked for",
    ),
    Keyword("sslrootcert", "honoured", "PGSSLROOTCERT", "`~/.postgresql/root.crt` without it; `system` for this machine's"),
    Keyword("sslcrl", "honoured", "PGSSLCRL", "`~/.postgresql/root.crl` without it"),
    Keyword("sslcrldir", "honoured", "PGSSLCRLDIR", "a folder of such lists, named by their hashes"),
    Keyword("sslsni", "honoured", "PGSSLSNI", "the host's name is sent in clear; 0 is refused with verify-full", words=_ON_OFF),
    Keyword(
        "requirepeer", "refused", "PGREQUIREPEER", "the owner of a server behind a socket is not looked at",
        advice="leave it out",
    ),
    Keyword("ssl_min_protocol_version", "honoured", "PGSSLMINPROTOCOLVERSION", "TLSv1.2 without it"),
    Keyword("ssl_max_protocol_version", "honoured", "PGSSLMAXPROTOCOLVERSION", "none without it"),
    Keyword(
        "min_protocol_version", "honoured", "PGMINPROTOCOLVERSION", "the protocol spoken here is 3.0",
        words=("3.0", "3.2", "latest"), refused_words=("3.2", "latest"), advice="leave it out",
    ),
    Keyword(
        "max_protocol_version", "honoured", "PGMAXPROTOCOLVERSION", "the protocol spoken here is 3.0",
        words=("3.0", "3.2", "latest"),
    ),
    Keyword("krbsrvname", "honoured", "PGKRBSRVNAME", "for a server that wants GSSAPI, with Python's package gssapi"),
    Keyword("gsslib", "ignored", "PGGSSLIB", "it chooses between libraries of Windows"),
    Keyword("gssdelegation", "ignored", "PGGSSDELEGATION", "credentials are not passed on"),
    Keyword("scram_client_key", "refused", "", "a login wants the password itself", advice="give a password"),
    Keyword("scram_server_key", "refused", "", "a login wants the password itself", advice="give a password"),
    *(
        Keyword(name, "refused", "", "there is no OAuth here", advice="use a role that logs in by password or certificate")
        for name in ("oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope")
    ),
    Keyword("sslkeylogfile", "refused", "", "keys of a connection are not written down", advice="leave it out"),
    Keyword(
        "target_session_attrs", "honoured", "PGTARGETSESSIONATTRS",
        "which of several hosts; a run needs one that it can write to",
        words=("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    ),
    Keyword(
        "load_balance_hosts", "honoured", "PGLOADBALANCEHOSTS",
        "for the first connection: all others of a run go to its server",
        words=("disable", "random"),
    ),
)  # fmt: skip

BY_NAME = {keyword.name: keyword for keyword in KEYWORDS}

NUMBERS = frozenset(
    {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
)
"""Keywords whose value is a whole number."""

TLS_KEYWORDS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "sslnegotiation"})
"""A string that names one of these has decided something about TLS."""


@dataclass(frozen=True, slots=True)
class ForeignWord:
    """A parameter that is not libpq's and is in strings made for other tools."""

    tool: str
    becomes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Value, in lower case, -> keyword of libpq and its value; "*" for any value, which "*" in the result stands for."""
    advice: str = ""
    """Why it is refused, and what to write instead; a word with neither is ignored."""


def _many(tool: str, *names: str) -> dict[str, ForeignWord]:
    return {name: ForeignWord(tool) for name in names}


_POOL, _JDBC, _PRISMA = "a pool of connections", "JDBC", "Prisma"
_CERTIFICATE = (
    "say what to check with sslmode and sslrootcert: sslmode=verify-full checks all, sslmode=require nothing."
)

FOREIGN: dict[str, ForeignWord] = {
    "schema": ForeignWord(_PRISMA, {"*": ("schema", "*")}),
    "currentSchema": ForeignWord(_JDBC, {"*": ("schema", "*")}),
    "sslaccept": ForeignWord(
        _PRISMA, {"strict": ("sslmode", "verify-full"), "accept_invalid_certs": ("sslmode", "require")}, _CERTIFICATE
    ),
    "sslidentity": ForeignWord(_PRISMA, advice="name the client's certificate and key with sslcert and sslkey."),
    "database": ForeignWord("asyncpg", {"*": ("dbname", "*")}),
    "username": ForeignWord("other drivers", {"*": ("user", "*")}),
    "ssl": ForeignWord(
        "other drivers",
        {"true": ("sslmode", "require"), "1": ("sslmode", "require"), "on": ("sslmode", "require"),
         "no-verify": ("sslmode", "require"), "false": ("sslmode", "disable"), "0": ("sslmode", "disable"),
         "off": ("sslmode", "disable"), **{mode: ("sslmode", mode) for mode in SSL_MODES}},
        "write sslmode=require or another of libpq's words.",
    ),
    "requiressl": ForeignWord("old libpq", {"1": ("sslmode", "require"), "*": ("sslmode", "prefer")}),
    "sslfactory": ForeignWord(_JDBC, advice=_CERTIFICATE),
    "sslhostnameverifier": ForeignWord(_JDBC, advice=_CERTIFICATE),
    "sslpasswordcallback": ForeignWord(_JDBC, advice="give the password of the key as sslpassword."),
    "authenticationPluginClassName": ForeignWord(_JDBC, advice="give the password itself."),
    "channelBinding": ForeignWord(_JDBC, {"*": ("channel_binding", "*")}),
    "gssEncMode": ForeignWord(_JDBC, {"*": ("gssencmode", "*")}),
    "sslNegotiation": ForeignWord(_JDBC, {"*": ("sslnegotiation", "*")}),
    "sslMode": ForeignWord("other drivers", {"*": ("sslmode", "*")}),
    "requireAuth": ForeignWord(_JDBC, {"*": ("require_auth", "*")}),
    "kerberosServerName": ForeignWord(_JDBC, {"*": ("krbsrvname", "*")}),
    "krbspn": ForeignWord("lib/pq", advice="name the service with krbsrvname."),
    "targetServerType": ForeignWord(
        _JDBC,
        {"any": ("target_session_attrs", "any"), "primary": ("target_session_attrs", "primary"),
         "master": ("target_session_attrs", "primary"), "secondary": ("target_session_attrs", "standby"),
         "slave": ("target_session_attrs", "standby"), "preferprimary": ("target_session_attrs", "any"),
         "prefersecondary": ("target_session_attrs", "prefer-standby"),
         "preferslave": ("target_session_attrs", "prefer-standby")},
        "write target_session_attrs=primary or another of libpq's words.",
    ),
    "loadBalanceHosts": ForeignWord(
        _JDBC, {"true": ("load_balance_hosts", "random"), "false": ("load_balance_hosts", "disable")},
        "write load_balance_hosts=random or disable.",
    ),
    "connectTimeout": ForeignWord(_JDBC, {"*": ("connect_timeout", "*")}),
    "loginTimeout": ForeignWord(_JDBC, {"*": ("connect_timeout", "*")}),
    "ApplicationName": ForeignWord(_JDBC, {"*": ("application_name", "*")}),
    "charset": ForeignWord("other drivers", {"*": ("client_encoding", "*")}),
    "encoding": ForeignWord("other drivers", {"*": ("client_encoding", "*")}),
    "readOnly": ForeignWord(_JDBC, {"false": ("", "")}, "a run writes: leave it out."),
    **_many(_PRISMA, "connection_limit", "pool_timeout", "pgbouncer", "socket_timeout", "statement_cache_size",
            "directConnection", "relationMode", "single_use_connections", "max_connection_lifetime",
            "max_idle_connection_lifetime"),
    **_many("Supabase", "supa", "workaround"),
    **_many("SQLAlchemy", "prepared_statement_cache_size", "prepared_statement_name_func", "async_fallback",
            "executemany_mode", "executemany_batch_page_size", "use_native_unicode", "client_flag"),
    **_many("asyncpg", "timeout", "command_timeout", "max_cached_statement_lifetime", "max_cacheable_statement_size",
            "min_size", "max_size"),
    **_many("psycopg", "prepare_threshold", "autocommit"),
    **_many(_JDBC, "socketTimeout", "cancelSignalTimeout", "tcpKeepAlive", "tcpNoDelay", "prepareThreshold",
            "preparedStatementCacheQueries", "preparedStatementCacheSizeMiB", "binaryTransfer", "binaryTransferEnable",
            "binaryTransferDisable", "assumeMinServerVersion", "reWriteBatchedInserts", "stringtype",
            "defaultRowFetchSize", "autosave", "cleanupSavepoints", "preferQueryMode", "loggerLevel", "loggerFile",
            "logUnclosedConnections", "hostRecheckSeconds", "unknownLength", "databaseMetadataCacheFields",
            "databaseMetadataCacheFieldsMiB", "allowEncodingChanges", "disableColumnSanitiser", "escapeSyntaxCallMode",
            "gssLib", "sspiServiceClass", "jaasLogin", "jaasApplicationName", "useSpnego", "receiveBufferSize",
            "sendBufferSize", "maxResultBuffer", "adaptiveFetch", "adaptiveFetchMinimum", "adaptiveFetchMaximum",
            "hideUnprivilegedObjects", "quoteReturningIdentifiers", "convertBooleanToNumeric"),
    **_many("pgx", "pool_max_conns", "pool_min_conns", "pool_max_conn_lifetime", "pool_max_conn_lifetime_jitter",
            "pool_max_conn_idle_time", "pool_health_check_period", "pool_min_idle_conns", "default_query_exec_mode",
            "statement_cache_capacity", "description_cache_capacity", "statement_cache_mode", "prefer_simple_protocol"),
    **_many("lib/pq", "binary_parameters", "disable_prepared_binary_result"),
    **_many("Rails", "pool", "adapter", "prepared_statements", "reaping_frequency", "checkout_timeout", "idle_timeout",
            "advisory_locks", "min_messages", "variables", "insert_returning", "statement_limit", "max_connections"),
    **_many("Django", "conn_max_age", "conn_health_checks", "disable_server_side_cursors"),
    **_many("Node.js", "uselibpqcompat", "max", "max_lifetime", "connectionTimeoutMillis", "idleTimeoutMillis",
            "query_timeout", "keepAlive", "keepAliveInitialDelayMillis", "prepare", "fetch_types", "debug"),
    **_many("SQLx", "statement-cache-capacity"),
    **_many(_POOL, "pool_size", "max_overflow", "pool_recycle", "pool_pre_ping", "pool_mode", "maxsize", "minsize",
            "max_pool_size", "min_pool_size", "maximumPoolSize", "minimumIdle"),
}  # fmt: skip
"""Words of other tools, which stand in strings that people paste."""

SERVER_SETTINGS = frozenset(
    {
        "search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
        "transaction_timeout", "timezone", "datestyle", "intervalstyle", "extra_float_digits", "work_mem", "role",
        "maintenance_work_mem", "default_tablespace", "temp_tablespaces", "default_transaction_isolation",
        "default_transaction_read_only", "synchronous_commit", "standard_conforming_strings", "bytea_output",
        "row_security", "session_replication_role", "default_table_access_method", "default_toast_compression",
        "geqo", "jit", "client_min_messages", "max_parallel_maintenance_workers", "max_parallel_workers_per_gather",
    }
)  # fmt: skip
"""Settings of the server that other drivers take as parameters: they go the way of `options`."""
