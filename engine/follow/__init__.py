"""Following a source while it is written to: which keys change, and having them applied, until it is cut over.

::

    request      whether a run can be followed at all
    looking      what it would be to follow a run that is over
    news         an oplog that is getting short, collections that are new
    collector    one stream of changes, kept in the ledger as keys
    apply_job    lanes of changed keys as leases of the cluster
    check_job    what was applied, compared with the source
    compare_job  whole collections compared with their tables
"""
