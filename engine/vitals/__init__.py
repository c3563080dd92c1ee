"""What the servers are doing while a run goes on, looked at by the engine itself, for all who want to know.

::

    target   what PostgreSQL's statistics views say, as vitals
    source   what MongoDB's serverStatus says, as vitals
    own      an operator's own query, command and file
    poller   looks at both of them once a second
"""
