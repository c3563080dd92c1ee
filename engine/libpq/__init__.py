"""How programs on libpq are told where PostgreSQL is: connection strings, service files, PG* variables, password files.

::

    home       the home directory and the user, as libpq finds them
    sockets    where a server on this machine listens when no host is named
    strings    postgresql://user@host/db?sslmode=require, host=... dbname=...   -> keywords and values as written
    services   ~/.pg_service.conf                                                  -> what the string leaves out
    keywords   every keyword with what becomes of it here; words of other tools that stand in pasted strings
    resolve    string, then service, then environment, then default             -> one `Conninfo`
    passfile   ~/.pgpass                                                           -> a password for a host

A string leads where `psql` goes with it. Nothing here connects. Source of all rules: https://www.postgresql.org/docs/18/
libpq-connect.html (34.1.1, 34.1.2), libpq-envars.html (34.15), libpq-pgpass.html, libpq-pgservice.html (34.17), and
fe-connect.c where they are silent; tried against libpq 15 and 18.
"""
