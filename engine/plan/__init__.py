"""Census + settings -> what goes where.

A plan is data: it is shown before anything is written, kept in the ledger, and goes to the workers as tasks. Its fingerprint
is made from what the operator asked for, not from what the census happened to sample, so that the same request resumes the
same run.

::

    request   which collections go where, as asked for by settings or a saved plan
    making    a request and a look at the source -> the plan of a run, on its critical path
    model     the plan itself
    saved     what an operator may edit of it; reading and writing are its TOML, checks what may stand in it
    preview, estimate, indexes    what `plan` shows beyond what a run needs
"""

from __future__ import annotations

from engine.plan.making import PartFacts as PartFacts
from engine.plan.making import cut as cut
from engine.plan.making import find_ends as find_ends
from engine.plan.making import make_plan as make_plan
from engine.plan.making import parts_of as parts_of
from engine.plan.model import FIRST_TASK_ID as FIRST_TASK_ID
from engine.plan.model import Plan as Plan
from engine.plan.model import TablePlan as TablePlan
from engine.plan.model import differences as differences
from engine.plan.model import fingerprint as fingerprint
from engine.plan.model import kept_plan as kept_plan
from engine.plan.request import Choice as Choice
from engine.plan.request import Selection as Selection
from engine.plan.request import choose as choose
from engine.plan.request import named_in as named_in
from engine.plan.request import request_of as request_of
from engine.plan.request import select as select
