"""The engine: everything that moves documents. It imports neither textual nor rich.

Packages, each above what it may import::

    __main__    the engine process
    service     that process as front ends reach it: sockets, commands, snapshots; and the client that they use
    run         one run: states, phases, end
    verify      both sides compared; rejects written again
    vitals      what the servers are doing while a run goes on
    guards      what a run may do to the servers before it slows down by itself
    tuning      the number of workers that a run is fastest with, found while it goes on
    follow      which keys change in the source, and the cluster's leases that apply them
    cluster     workers and their leases, as the engine sees them
    work        what worker processes do
    preflight   what a run would meet at both ends, asked before it is started
    ledger      what runs have done and have left to do, in the target database
    plan        which collection goes to which table, with which columns
    postgres    the target's tables
    mongo       the source
    convert     BSON to rows
    demo        embedded servers
    protocol    what front ends and engine say to each other
    mapping     what becomes what, as data
    libpq       where PostgreSQL is, as programs on libpq are told it

and modules::

    rows        what convert gives and postgres takes
    failures    what the failure of a server means, without its driver
    retries     how long something is tried again
    loading     settings read from flags, environment and file
    config      the settings
    knobs       numbers that may change during a run
    notation    how collections and tables are typed
    scheduler_address    how the scheduler of a cluster is
    mongo_uri, mongo_options, mongo_needs    MongoDB's connection strings
    tls         what both sides share about TLS
    references  connection strings that are in a variable or a file of the host where they are used
    redaction   secrets taken out of text
    plurals     counts in sentences
    validation  what a value that was refused should have been, in one sentence
    logs        the engine's log
    errors      every error that reaches a person, with its exit code
"""

__version__ = "0.1.0"
