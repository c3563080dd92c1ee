"""What is asked and shown above a screen.

::

    modal        what every dialog is; those that are kept, so that they appear at once
    questions    a title, sentences, buttons; the safe answer has the focus
    starting     from where to where, which tables, what preflight found; before a copy
    knob_fields  what the dialogs of knobs share
    knobs        the knobs of a run that is to be started
    sheet        text to read and copy
    choosing     one of several names
    naming       a file's name
    password     the password of a server
    help         the commands that work now
    tune         exact values of all knobs
    worker       one worker in full
    vitals       what both servers are doing, and what to do about it
    cutting_over  the cut-over of a run that follows its source
    resolving    what became of such a source, and what is done about it
    problems     what went wrong, and one problem in full
    plan_form    what the dialogs that edit a plan share
    column       a column of the plan
    table        a table of the plan
    settings     every setting that has no field on Setup
    profiles     settings under a name: saved, opened
    deleting     what goes with a run that is deleted
    exporting    where a report goes
"""
