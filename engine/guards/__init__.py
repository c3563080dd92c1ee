"""Guards: what a run may do to the servers before it slows down, and pauses, by itself.

::

    limits     what each guard sees in the vitals, against its limits; pure
    governor   how far a run is slowed, when it is paused, and how it comes back; pure
"""
