"""What becomes what: columns, policies and names as data.

::

    bson         the framing of BSON: where each value of a document ends
    decimal128   its decimal numbers, read and spelled
    kinds        the kinds of BSON: their names, and the columns each fits
    limits       what PostgreSQL's types can hold, as far as BSON can go beyond it
    options      what an operator may choose about how values become columns
    names        names of tables and columns in PostgreSQL
    model        the mapping of one collection to one table
    census       which fields documents have, with which kinds and extremes
    equal_keys   which keys that MongoDB keeps apart may be one in a table
    proposal     from a census to a mapping
    cautions     what to know of a mapping before anything is written
"""
