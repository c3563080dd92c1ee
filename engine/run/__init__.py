"""One run: from its acceptance to its end.

::

    context          what a phase may ask of its run (`RunContext`), and what a run asks of its phases (`Phase`)
    states           the states of a run, which follows which, and which command is taken in which
    run              the run itself: its commands, its phases one after the other, its end
    record           what is known of it: each event changes it
    knobs, clock     the knobs that it begins with; how long it has been going on
    guarding         guards at work: a lower rate, a pause
    tuning           the cluster size turned by the run itself
    view             the snapshot, made from record, cluster and meter
    table_views      its tables
    environment      who started it, and the versions of both servers
    report           a run for an audit
    recount          a run that is over, as the ledger has it now
    final_event      its last event, which is the last line of `run --json`
    steps            the engine's own steps: tried again, or the run pauses

    seed             the phase that fills a collection with synthetic users

    copy             the phase that copies: plan, tables, partitions, then the end
    consistency      whether it reads every document as it was at one time
    same_source      whether the collections are still those of the plan
    census           a full census before the copy; censuses kept for the next plan
    census_job       its leases
    copy_job         the copy's leases, what is committed of them, and what is done when a worker is lost
    copy_leases      partitions as leases
    partition_sizes  how many documents each is thought to have
    open_partition   the last one of a collection that is seeded at the same time
    cutting          partitions cut again when the cluster has grown
    fill_in          what natural order leaves to be read when the tables have their keys
    progress         every committed slice counted once
    limits           too many rejects
    finish           the end of a copy: no gaps, keys, ANALYZE, counts, the swap of mode `replace`
    halting          what may become of a source that is followed, and what is done about it
    following        the part that follows a source after the copy, until it is cut over
    approach         whether it catches up, and when
    checking         what it has applied, compared with the source beside all else
    comparing        whole collections compared, where not all changes are known
    followed_indexes secondary indexes of such a run
    cutting_over     its end: mark, countdown, counts, one last transaction; or called off
    indexing         secondary indexes after it

    replay           a recorded run, made into snapshots again
"""
