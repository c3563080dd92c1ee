"""The engine process as its front ends reach it.

::

    server           the engine process: clients in, commands to what does them, events and snapshots out
    activities       what an engine does: its run, and beside it a verification or a census; knobs are turned here
    census_plan      a plan from a full census
    guard_check      which guards can see what they are to look at
    cluster_check    whether the cluster of the settings can be reached
    questions        what is answered without a run: connections, collections, plans, rejects, history
    event_backlog    the events kept for clients that attach later
    launching        the other side: starts an engine
    client           finds one, sends commands, receives events and snapshots
    finding          which of the runs that it finds is meant
    sockets          run ids, the folders of sockets and logs
    log_files        logs as files: made, removed when empty or old
    run_log          what the log says of a run
    doors            the sockets that an engine listens on, made again when they are removed
    peers            which process is at the other end of a socket
"""
