"""Whether both sides hold the same, and writing rejected documents again.

::

    counts           the counts of source, ledger and table, compared
    full             every document compared with its row, by a cluster of its own
    job              the leases of that: slices of the run, read again
    compared_table   what is known of one table so far
    extra_rows       rows that no document has
    retry_rejects    rejects written again, each exactly once
"""
