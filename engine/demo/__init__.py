"""Embedded servers for the demo and the tests: a real mongod and a real PostgreSQL on loopback.

::

    the process that calls start_servers()
       |  a pipe, held open: its end of file means that the owner has gone
       v
    keeper  (a session of its own)  -- flock on DIR/keeper.lock as long as it lives
       |- mongod      dies with the keeper: PR_SET_PDEATHSIG, where there is such a thing
       `- postgres    the same; as the user nobody when the keeper is root, which PostgreSQL refuses

So however the owner ends, the keeper stops both servers and removes their folder, unless they are to be kept; and if
even the keeper is killed, the servers die with it and the next start removes the folder.

Both servers listen on 127.0.0.1 only and ask for no password: every user of this machine can reach them
while they run.

::

    binaries    where the server programs are
    folder      the folder of one pair of servers
    processes   processes told apart beyond their pid, started as another user, ended with another
    order       what a keeper is told
    keeper      the process that holds both servers
    mongod      MongoDB
    postgres    PostgreSQL
    servers     starting a pair, or finding one that runs
    writers     writers to the source of a demo that follows it
    writing     their process
"""

from __future__ import annotations

from engine.demo.servers import DemoServers, start_servers, stop_kept

__all__ = ["DemoServers", "start_servers", "stop_kept"]
