"""A report as one page of HTML that needs nothing else: no script, no other file, nothing from a network."""

from __future__ import annotations

from html import escape

from engine.protocol import RunReport, VerifyReport
from tui.reports.chart import chart
from tui.reports.facts import Section, facts, result, sections, title
from tui.words.run_status import overall_rate
from tui.words.safe import safe, safe_block

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --muted: #57606a; --rule: #d0d7de; --fill: #f6f8fa; --line: #0969da;
  --good: #1a7f37; --warn: #9a6700; --bad: #cf222e; --paper: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --muted: #9198a1; --rule: #3d444d; --fill: #161b22;
  --line: #4493f8; --good: #3fb950; --warn: #d29922; --bad: #f85149; --paper: #0d1117; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 980px; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.result { font-size: 1.1rem; font-weight: 600; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--rule); vertical-align: top;
  overflow-wrap: anywhere; }
th { color: var(--muted); font-weight: 600; } .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.facts th { width: 11rem; }
pre { background: var(--fill); border: 1px solid var(--rule); padding: .8rem; overflow-x: auto; font-size: .85rem; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--muted); }
.line { fill: none; stroke: var(--line); stroke-width: 2; } .area { fill: var(--line); opacity: .15; }
.axis, .grid { stroke: var(--rule); } .mean { stroke: var(--warn); stroke-dasharray: 5 4; }
svg .mean-label { fill: var(--warn); }
@media print { body { margin: 0; max-width: none; } details > pre { display: block; } }
"""


def page(report: VerifyReport, run: RunReport | None = None) -> str:
    """The page; foreign text cannot break it."""
    words = result(report)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title(report, run))}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{_text(title(report, run))}</h1>",
        f'<p class="result {_class(report)}">{_sign(report)} {_text(words)}</p>',
        '<table class="facts">',
        *(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts(report, run)),
        "</table>",
    ]
    if run is not None and (drawn := chart(run.samples, overall_rate(run.run))):
        parts += ["<h2>Rows per second</h2>", drawn]
    for section in sections(report, run):
        parts += _section(section)
    if run is not None and run.plan:
        plan = escape(safe_block(run.plan, 2_000))
        parts.append(f"<h2>Plan</h2><details><summary>plan.toml</summary><pre>{plan}</pre></details>")
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _section(section: Section) -> list[str]:
    def cell(tag: str, place: int, text: str) -> str:
        right = ' class="n"' if place in section.right else ""
        return f"<{tag}{right}>{_text(text)}</{tag}>"

    def row(tag: str, cells: list[str]) -> str:
        return f"<tr>{''.join(cell(tag, place, text) for place, text in enumerate(cells))}</tr>"

    return [
        f"<h2>{_text(section.title)}</h2>",
        f'<div class="wide"><table>{row("th", list(section.headings))}',
        *(row("td", cells) for cells in section.rows),
        "</table></div>",
    ]


def _class(report: VerifyReport) -> str:
    if report.result.value == "mismatch":
        return "bad"
    is_whole = (
        report.result.value == "verified"
        and report.replaced_since is None
        and not any(table.rejected for table in report.tables)
    )
    return "good" if is_whole else "warn"


def _sign(report: VerifyReport) -> str:
    return {"good": "✓", "warn": "!", "bad": "×"}[_class(report)]


def _text(text: str) -> str:
    return escape(safe(text, 600))
