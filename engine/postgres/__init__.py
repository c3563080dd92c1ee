"""The target's tables: what is made, written, compared and finished in PostgreSQL. Nothing here knows of runs or workers.

::

    sqlstates          what an error means, told by SQLSTATE and class
    driver_internals   the private names of asyncpg that are used, all of them
    queries            calls of the driver with the types that their callers have
    contexts           TLS: libpq's sslmode and the files beside it
    session            the settings of a session that correctness rests on
    connect            a connection, or one sentence that says why there is none; what a server offers
    sessions           what sessions of this program are called, and how one is ended
    blockers           which session's lock keeps a statement waiting
    statistics         what the server says of itself: waits, WAL, standbys, progress of statements
    lock_room          the server's table of locks: what it has room for, what a run takes

    ddl                SQL for tables, from a mapping
    names              names that the target has already
    tables             columns of a table that is there, and whether a mapping's rows go into it
    existing           such a table as a plan begins with it
    obstacles          what keeps rows from being written into it
    requirements       version, kind of server and rights that a run needs
    prepare            before a run writes anything: which tables are made, which must fit, by which statements

    page               pages on their way to COPY, and any rows of one
    rows               a page into a table, where a bad row costs one row
    present            which keys a table has already
    removed            rows that go, by their keys
    guards             CHECK constraints that rows break: COPY passes such rows by

    maintenance        what building a key or an index may use of the server
    finish             keys, ANALYZE, counts, and the swap of mode replace
    small_tables       the same of several small tables at once
    attachments        what hangs on a table, and what becomes of it in mode replace
    exchange           new contents for a table that stays
    indexes            secondary indexes, built after the load

    compare            rows as they should be against rows as they are
    keys               rows of the table that no document has
"""
