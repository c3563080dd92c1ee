"""The cockpit: a Textual application that draws what an engine says and hands on what the operator asks.

Each line imports only what is below it.

::

    app             the application: it puts everything together
    navigation      the five screens as modes, and the ways between them
    palette         the command palette
    screens         what is shown; each asks its cockpit through `api`
    api             what a screen may ask of its cockpit
    leaving         how the cockpit ends, and what becomes of the run
    orders          what a run is told: start, steer, turn a knob
    dialogs         what is asked and shown above a screen
    consequences    what a start will do, as data and lines for the question before it
    widgets         what screens and dialogs consist of

    answers         questions put to an engine
    notes           what the cockpit itself says, kept in the log of the run
    choices         the settings as they were read, applied, and typed on Setup
    changes         the signals that screens subscribe to
    runs            the run of the cockpit, and a recorded one in its place
    engines         the processes: an idle one for questions, and the one of the run
    planning        what a plan is made from
    plan_edits      edits of a plan, with undo
    farewell        what is printed once the terminal is the shell's again
    session         one engine: the connection, what it said, what was asked of it
    replay          a recorded run, played
    shown           what the Run screen needs of either
    throughput      rows/s over time, in a fixed amount of memory
    export          reports as Markdown, JSON and CSV
    logs            the logs that name a run
    signs           states as a symbol, a word and a colour

    keymap          which keys give which command
    commands        every command, and when it works
    themes          colours
    clipboard       text for the operator's clipboard
    ascii_filter    drawing with ASCII characters only
    crash           a bug as a sentence, the traceback in a file
    textual_internals    private names of Textual, each in one place
"""
