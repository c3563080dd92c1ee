"""Which generated section is made by what."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.docs import (
    attachments_page,
    connection_page,
    edges_page,
    hosts_page,
    json_page,
    keys_page,
    mapping_page,
    outcomes_page,
    settings_page,
    states_page,
)

SECTIONS: Mapping[str, Callable[[], str]] = {
    "mapping": mapping_page.page,
    "settings": settings_page.settings_section,
    "commands": settings_page.commands_section,
    "knobs": settings_page.knobs_section,
    "attachments": attachments_page.section,
    "exit-codes": outcomes_page.exit_codes_section,
    "error-codes": outcomes_page.error_codes_section,
    "json-progress": json_page.progress_section,
    "json-worker": json_page.worker_section,
    "json-vitals": json_page.vitals_section,
    "json-guards": json_page.guards_section,
    "json-follow": json_page.follow_section,
    "json-finished": json_page.finished_section,
    "json-table": json_page.table_section,
    "json-status": json_page.status_section,
    "json-states": json_page.states_section,
    "json-answers": json_page.answers_section,
    "json-events": json_page.events_section,
    "cluster-costs": hosts_page.costs_section,
    "cluster-hosts": hosts_page.hosts_section,
    "libpq-keywords": connection_page.keywords_section,
    "libpq-foreign": connection_page.foreign_section,
    "libpq-session": connection_page.session_section,
    "states": states_page.section,
    "keys-widgets": keys_page.widgets_section,
    **keys_page.KEY_SECTIONS,
    **edges_page.EDGES,
}
