"""Private names of Textual 8.2.8, each in one place, with a test that names it (tests/tui/test_textual_internals.py).

::

    bindings           the key bindings of one node
    command_palette    a palette that can be shown again
    mounting           a screen mounted before it is shown
    restyling          a screen styled anew only when the theme has changed
    dimming            the screen below a dialog
    caches             closed widgets are not kept in memory
    driver             a lost terminal does not hold the application up
    telling            sequences of ours for the terminal
    timers             a timer whose time is over before it starts
    failing            what is done about an error that nothing has handled
"""
