"""The engine's side of workers, whatever they do: which are alive, their leases, and what becomes of one at a death.

::

    job            one kind of work as the engine sees it: its tasks, its leases, what is done with what workers report
    lease_book     where each lease of a job is: waiting, out, held, apart, parked, or done
    dispatcher     a cluster: hands out the leases of its jobs, and gives reports of workers to the job that they are about
    supervisor     the workers of a cluster: how many, which are idle, what they are told, what is done when one dies or hangs
    worker         one of them as the supervisor sees it: its lease, its rates, its state
    crew           the seam to where workers run: the protocols `Crew` and `Member`
    local          processes of this host behind that seam: started, spoken to, noticed when they end, killed
    fork_server    the process that they are forked from
    channel        messages through a pipe, without blocking
    meter          rates, time to go, and what the workers wait for most
    own_cluster    a cluster for work that is no run: a full verification, the census of a plan
"""
