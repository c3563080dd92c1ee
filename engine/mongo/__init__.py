"""The source: what is asked of MongoDB and read from it. Nothing here writes but `write_block`.

::

    faults         what a failure of the driver means, in one sentence
    handshake      why a server does not answer, found out by a TLS handshake
    connect        a connection, or one sentence that says why there is none
    rights         what the user may do
    grants         the command that grants what is missing
    statistics     what the server says of itself
    collections    handles of collections, whatever they are called
    many_counts    the documents of many small collections, counted together
    catalogue      the collections of a database: kind, size
    id_kinds       of which kinds the `_id`s of a collection are
    indexes        secondary indexes as data
    filters        filters of a plan: as written, as they travel, and whether the server takes them
    bounds         keys of documents as bytes: compared, and shown
    causal         reads that are not older than a time, and from when on a source can be followed
    snapshot       one point in the cluster's time at which any number of processes read
    partition      a collection cut into ranges of `_id`
    rawcursor      raw batches without an object for each document; the private names of PyMongo that are used
    reader         a range, or a sample, as raw batches
    natural        a range of records as they lie on disk, and whose record ids these are
    spread         documents that lie evenly spread, found by their record ids
    record_cuts    a collection cut into such ranges
    by_key         documents asked for by their keys; keys that are equal to MongoDB
    changes        a change stream of keys
    write_block    MongoDB's own block of all writes
    inclusive      a range up to and including its last key
"""
