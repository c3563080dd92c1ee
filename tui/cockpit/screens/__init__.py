"""The five screens, each a mode of the application.

::

    base        what they share: header, footer, which commands work, terminals that are too small
    starting    the question before something is started
    setup       both connections, what to copy, the knobs
    plan        what becomes of each field
    run         the run, or a recorded one
    verify      the counts of both sides, and the differences
    history     the runs of the ledger
    rejects     rejected documents of one run, by reason, and their retry
"""
