"""The front ends: the command line, progress without a screen, and the cockpit.

::

    __main__    the program `mongopg-tui`
    cli         the command line: one module a command
    cockpit     the Textual application
    reports     reports of runs as files
    words       what both say, as plain text
    at_end      the end of a run: bell, notification, the operator's command
    demo        the demo as people watch it: with a throttle
    memory      what a cockpit remembers from one start to the next
    profiles    named files of settings
    again       commands that are printed for later, with what they need
    files       paths that were typed, and files that are written whole or not at all
    starting    what a terminal says while the cockpit comes
    signals     signals that were to be ignored stay ignored
    garbage     when Python looks for garbage, so that the start is quick and keys are answered
"""
