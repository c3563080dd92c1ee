"""A report to read, as Markdown."""

from __future__ import annotations

from engine.protocol import RunReport, VerifyReport
from tui.reports.facts import Section, facts, result, sections, title
from tui.words.safe import safe, safe_block


def markdown(report: VerifyReport, run: RunReport | None = None) -> str:
    """Facts, then tables, then the plan; foreign text cannot break it."""
    lines = [f"# {_cell(title(report, run))}", "", f"Result: **{_cell(result(report))}**.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts(report, run)]
    for section in sections(report, run):
        lines += ["", *_section(section)]
    if run is not None and run.plan:
        plan = safe_block(run.plan, 2_000)
        fence = "```"
        while fence in plan:
            fence += "`"
        lines += ["", "## Plan", "", f"{fence}toml", plan.rstrip("\n"), fence]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    rule = "".join("---:|" if place in section.right else "---|" for place in range(len(section.headings)))
    return [
        f"## {_cell(section.title)}",
        "",
        f"| {' | '.join(section.headings)} |",
        f"|{rule}",
        *(f"| {' | '.join(map(_cell, row))} |" for row in section.rows),
    ]


def _cell(text: str) -> str:
    return safe(text, 300).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
