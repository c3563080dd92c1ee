"""The command line: one module a command, each with its options and what it does.

::

    entry           from arguments to an exit code; whatever goes wrong is one sentence
    commands        the list of commands, and what the program takes without one
    options         options that set settings, one definition each; the decorator that gives a command those it takes
    output          words on stderr, results on stdout
    ascii_output    both in ASCII, where a terminal shows nothing else
    password        passwords asked for in the terminal

    demo, seed, run, follow, attach    commands that make a run, or join one
    front_ends      which front end a run gets: the cockpit or a printer
    cockpit         the cockpit with an engine of its own, or on a run that is going on
    headless        a run without a screen, steered by signals
    printers        its progress as JSON or lines
    live            its progress redrawn in a terminal
    json_lines      the JSON objects of stdout

    plan, verify, rejects, runs, report    commands that ask an engine one thing
    one_question    start an engine, ask it or talk with it, end it
    plan_files      saved plans as files

    ctl             the command that steers a run from another terminal
    cutting_over    what it does before a run is cut over, and what comes of that
    watching        a run in progress, a line a second

    bench           the command that measures copies of the operator's own documents
    copy_clock      when a copy begins and ends
    measurements    what is measured next, and what the figures recommend
"""
