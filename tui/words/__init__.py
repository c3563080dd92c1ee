"""What the command line and the cockpit both say, as plain text.

::

    safe          foreign text made harmless for a terminal
    format        numbers, sizes, times and shares
    charset       whether a terminal draws more than ASCII
    tables        columns of text
    uri           connection strings without their passwords
    knobs         values of knobs
    census        what a census has found
    run_status    whether a run of the ledger goes on, and for how long it did
    replaced      tables of a run that are not any more what it wrote
    comparisons   what was compared of both sides after a run, and when
    events        an event as a sentence
    guards        what a run does for their sake, and why
    follow        how far a run is with following its source
    vitals        what the servers are doing, and what to do about it
    sentences     progress, status and the end of a run
    preflight     what a run would meet at both ends
    rejects       documents that could not be written
"""
