"""The number of workers that a run is fastest with, found while it goes on. Pure: no server, no clock, no task.

::

    window      how much a cluster of one size commits in a second, and how certain that is
    prober      which size to try next, and which to keep
    obstacles   what more workers would only wait for, too

`engine.run.tuning` feeds them and turns the knob.
"""
