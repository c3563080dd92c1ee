"""Census + settings -> what goes where.

A plan is data: it is shown before anything is written, kept in the ledger, and goes to the workers as tasks. Its fingerprint
is made from what the operator asked for, not from what the census happened to sample, so that the same request resumes the
same run.

::

    request        which collections go where, as asked for by settings or a saved plan
    looks          what was read of the source for a plan, kept for the next edit
    order          whether a collection is read in natural order
    making         a request and a look at the source -> the plan of a run, on its critical path
    model          the plan itself
    naming         names of the keys and indexes that a run makes
    existing       the mapping of a table that is there already
    target_tables  a look at the target for tables that rows would be added to
    indexes        MongoDB's indexes as PostgreSQL could have them
    index_filters  the filter of a partial index as a condition of PostgreSQL
    index_advice   SQL for indexes that are not carried over
    bounds         what would become of some documents: what a table refuses, which keys may be one
    widest         the documents with the most fields
    saved          what an operator may edit of a plan
    checks         what may stand in it
    writing        its TOML, with what was seen explained
    reading        the same, read
    preview        sampled documents as the rows they would become
    sqltext        fields of COPY's binary format as the text that PostgreSQL would show
    estimate       how large tables become and how long it takes
    planning       the plan for people, as front ends show it
"""

from __future__ import annotations

from engine.plan.making import PartFacts as PartFacts
from engine.plan.making import cut as cut
from engine.plan.making import facts_of as facts_of
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
