"""The front ends: the command line, progress without a screen, and the cockpit.

::

    __main__    the program `mongopg-tui`
    cli         the command line: one module a command
    cockpit     the Textual application
    words       what both say, as plain text
    profiles    named files of settings
    files       paths that were typed, and files that are written whole or not at all
    signals     signals that were to be ignored stay ignored
    garbage     when Python looks for garbage, so that the start is quick and keys are answered
"""
