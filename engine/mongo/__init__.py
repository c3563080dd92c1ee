"""The source: what is asked of MongoDB and read from it. Nothing here writes.

::

    faults         what a failure of the driver means, in one sentence
    handshake      why a server does not answer, found out by a TLS handshake
    connect        a connection, or one sentence that says why there is none
    rights         what the user may do
    grants         the command that grants what is missing
    collections    handles of collections, whatever they are called
    catalogue      the collections of a database: kind, size
    id_kinds       of which kinds the `_id`s of a collection are
    indexes        secondary indexes as data
    filters        filters of a plan: as written, as they travel, and whether the server takes them
    bounds         keys of documents as bytes: compared, and shown
    snapshot       one point in the cluster's time at which any number of processes read
    partition      a collection cut into ranges of `_id`
    rawcursor      raw batches without an object for each document; the private names of PyMongo that are used
    reader         a range, or a sample, as raw batches
    inclusive      a range up to and including its last key
"""
