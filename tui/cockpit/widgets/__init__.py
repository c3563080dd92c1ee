"""What screens and dialogs consist of.

::

    header, footer          the line above, the line below
    options, listing        lists of lines under a cursor
    filter                  a field that leaves only some of them
    fields                  a knob's field, a choice of words
    bars, bar_list          horizontal bars, and lists of lines with them

    connection              Setup: a connection string, and what its test found
    collections             Setup: what to copy
    steps                   Setup: the way from nothing to a run
    preflight               Plan: what a run would meet at both ends, in a line
    planned                 Plan: a plan's heading, fields, preview, warnings
    total, chart, knobs     Run: the whole run, its throughput, its knobs
    vitals                  Run: what the servers are doing
    follow                  Run: how far it is with following the source
    progress, workers       Run: a bar for each collection, for each worker
    problems, event_log     Run: what went wrong, what happened
    report                  Run: the end
    comparison              History: two runs side by side
"""
