"""Preflight: what a run would meet at both ends, asked before it is started, by the checks that the run itself makes.

::

    known_names   names that the target has, for a plan that is no run
    reach         whether the target can be reached, remembered while a plan is edited
    connections   whether the target has free connections for a cluster
    source        what a run asks of MongoDB
    target        what it asks of PostgreSQL: the server, rights, the ledger, connections, and each of its tables
    looking       both for a plan; and for a start, which reads no more than it has to
"""
