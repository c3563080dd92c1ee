"""One run: from its acceptance to its end.

::

    context          what a phase may ask of its run (`RunContext`), and what a run asks of its phases (`Phase`)
    states           the states of a run, which follows which, and which command is taken in which
    run              the run itself: its commands, its phases one after the other, its end
    record           what is known of it: each event changes it
    knobs, clock     the knobs that it begins with; how long it has been going on
    view             the snapshot, made from record, cluster and meter
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
    progress         every committed slice counted once
    limits           too many rejects
    finish           the end of a copy: no gaps, keys, ANALYZE, counts, the swap of mode `replace`
    indexing         secondary indexes after it

    replay           a recorded run, made into snapshots again
"""
