"""What is asked and shown above a screen.

::

    modal        what every dialog is; those that are kept, so that they appear at once
    questions    a title, sentences, buttons; the safe answer has the focus
    sheet        text to read and copy
    choosing     one of several names
    naming       a file's name
    help         the commands that work now
    tune         exact values of all knobs
    worker       one worker in full
    problems     what went wrong, and one problem in full
    column       a column of the plan
    settings     every setting that has no field on Setup
    profiles     settings under a name: saved, opened
    exporting    where a report goes
"""
