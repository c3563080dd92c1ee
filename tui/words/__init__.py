"""What the command line and the cockpit both say, as plain text.

::

    safe          foreign text made harmless for a terminal
    format        numbers, sizes, times and shares
    tables        columns of text
    uri           connection strings without their passwords
    knobs         values of knobs
    census        what a census has found
    run_status    whether a run of the ledger goes on, and for how long it did
    events        an event as a sentence
    sentences     progress, status and the end of a run
    rejects       documents that could not be written
"""
