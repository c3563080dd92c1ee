"""The ledger: what runs have done and what they have left to do, in schema `mongopg` of the target database.

::

    schema            its tables, and which version of them this is
    ledger            the engine's sessions with all of it while a run goes on
    runs              a run: begun, found, kept alive, ended, discarded; with its tables and events
    event_writer      its events and heartbeat, written about twice a second
    taking            which engine drives it, and what one finds that was taken for dead
    table_lock        its tables, locked for it in a session of their own
    table_locks       one run per target table: advisory locks, and which session has one that is refused
    partitions        what there is to read, what is committed, and whether it joins without a gap
    fill_in           what is read again when a table has its key
    slices            the commit protocol: claim, rows, rejects and checkpoint in one transaction
    slice_groups      the same for slices of several small partitions in one transaction
    rejects           documents that could not be written as mapped
    retried_rejects   rejects that are written again
    altered           how many values policies changed in committed rows
    follow            a source that is followed: how far its changes are read, and the keys that changed
    changed           changes that were applied, until they are compared with the source
    halts             what became of collections that are followed, and what was chosen
    lanes             changed keys on their way into a table: claim, rows and keys in one transaction
    spans             committed slices as ranges, to be read again
    history           what is asked of runs that are over: a list, one of them, its rejects
    earlier_runs      what earlier runs wrote: the mappings of a table, the tables of a source
    later_runs        what later runs replaced of it
"""
