"""The engine's side of workers, whatever they do: which are alive, their leases, and what becomes of one at a death.

::

    job            one kind of work as the engine sees it: its tasks, its leases, what is done with what workers report
    lease_book     where each lease of a job is: waiting, out, held, apart, parked, or done
    dispatcher     a cluster: hands out the leases of its jobs, and gives reports of workers to the job that they are about
    supervisor     the workers of a cluster: how many, which are idle, what they are told, what is done when one dies or hangs
    worker         one of them as the supervisor sees it: its lease, its rates, its state
    crew           the seam to where workers run: the protocols `Crew` and `Member`
    gates          what is asked of another host before its workers have leases
    host_watch, host_views    what becomes of hosts, as events; each with what its workers do together
    local          processes of this host behind that seam: started, spoken to, noticed when they end, killed
    fork_server    the process that they are forked from
    crews          which crew it is, by the settings
    dask_crew      members on the hosts of a Dask cluster, behind the same seam
    dask_site      that cluster: connected to, or started on this host (dask_process, and dask_local in it)
    dask_api       what is used of Dask
    dask_agent     what Dask runs there for it
    host           a host process there, which has members and a local crew; started by host_start, as host_main
    host_words     what it and the engine say to each other
    mailbox        said so that each message arrives once, in order, whatever is lost on the way
    pace           how often: at once when it is seldom
    channel        messages through a pipe, without blocking
    meter          rates, time to go, and what the workers wait for most
    own_cluster    a cluster for work that is no run: a full verification, the census of a plan
"""
