"""What worker processes do: they take leases from the engine, one at a time, and report.

::

    messages       the words between the engine and a worker: tasks, leases, progress
    codec          those words as bytes, for other hosts
    frames         bytes behind their lengths
    context        what a kind of work is made with (`Place`) and what it does (`Work`)
    kinds          which kind does the leases of which task: the registry
    worker         main of a worker process: its loop
    slots          what a worker counts, in memory that the engine reads
    preload        what is imported once for all of them (preloaded does it in a new interpreter)
    probe          what a worker's host has: this program, and the servers that it reaches
    connections    a worker's sessions with both servers, and what is done when one fails
    feed           a range read and converted, cut into pages
    natural_ranges    a range of natural order, of a member that is looked at

    copy           a partition into a table, slice by slice
    apply          changed keys of a lane, read again and written
    check          keys that were applied, and whole collections, compared with the source
    joining        its session as one of a run that holds its tables
    bundles        several small partitions, in one transaction
    slice_notes    what went into the slice in hand
    missing        what of a page a table lacks
    claims         slices that were committed and not reported
    census         a range counted
    verify         slices read again and compared
    differences    what such a comparison found
    seed           a range of synthetic users inserted
    seeding, users    how they are inserted and made
"""
