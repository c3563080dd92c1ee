"""What screens and dialogs consist of.

::

    header, footer          the line above, the line below
    options, listing        lists of lines under a cursor
    filter                  a field that leaves only some of them
    fields                  a knob's field, a choice of words
    bars                    horizontal bars

    connection              Setup: a connection string, and what its test found
    collections             Setup: what to copy
    planned                 Plan: a plan's heading, fields, preview, warnings
    total, chart, knobs     Run: the whole run, its throughput, its knobs
    workers                 Run: a bar for each worker
    problems, event_log     Run: what went wrong, what happened
    report                  Run: the end
    comparison              History: two runs side by side
"""
