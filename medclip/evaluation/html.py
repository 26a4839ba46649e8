"""One self-contained HTML page: headings, paragraphs, tables and figures, and nothing fetched from anywhere."""

from __future__ import annotations

import base64
import html

import pandas as pd

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
nav a { margin-right: 1rem; }
.note { opacity: .75; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th { border-bottom: 2px solid var(--line); }
td:first-child, th:first-child { text-align: left; }
tbody tr:nth-child(odd) { background: var(--soft); }
figure { margin: 1rem 0; }
figure img { max-width: 100%; background: white; border-radius: 4px; }
figcaption, .caption { font-size: .85rem; opacity: .75; }
.caption { margin-bottom: 0; }
.caption + table { margin-top: .25rem; }
pre { background: var(--soft); padding: 1rem; overflow-x: auto; font-size: 12px; }
"""


class Page:
    """A page that is written from top to bottom; everything given as text is shown as text.

    Args:
        title: Title of the page.
        subtitle: Line below the title.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title, self._subtitle = title, subtitle
        self._parts: list[str] = []
        self._sections: list[str] = []

    def section(self, title: str, text: str = "") -> None:
        """Begins a section."""
        self._sections.append(title)
        self._parts.append(f'<h2 id="s{len(self._sections)}">{html.escape(title)}</h2>')
        self.text(text)

    def text(self, text: str) -> None:
        """Adds a paragraph."""
        if text:
            self._parts.append(f'<p class="note">{html.escape(text)}</p>')

    def table(self, table: pd.DataFrame, caption: str = "") -> None:
        """Adds a table, its cells as of `readable`."""
        if caption:
            self._parts.append(f'<p class="caption">{html.escape(caption)}</p>')
        self._parts.append(readable(table).to_html(index=False, border=0, escape=True))

    def figure(self, png: bytes, caption: str) -> None:
        """Adds the contents of a PNG file as a figure within the page."""
        data = base64.b64encode(png).decode()
        text = html.escape(caption)
        self._parts.append(
            f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
        )

    def fold(self, title: str) -> None:
        """Begins a part that is folded away until it is asked for; `unfold` ends it."""
        self._parts.append(f"<details><summary>{html.escape(title)}</summary>")

    def unfold(self) -> None:
        """Ends the part that `fold` began."""
        self._parts.append("</details>")

    def code(self, text: str) -> None:
        """Adds text as it stands."""
        self._parts.append(f"<pre>{html.escape(text)}</pre>")

    def render(self) -> str:
        """Returns the page."""
        links = "".join(f'<a href="#s{i}">{html.escape(name)}</a>' for i, name in enumerate(self._sections, start=1))
        title = html.escape(self._title)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
            f'<p class="note">{html.escape(self._subtitle)}</p><nav>{links}</nav>{"".join(self._parts)}</body></html>'
        )


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table of texts: numbers with three digits, dashes for missing ones, bounds beside their value."""
    cells = table.map(_cell)
    for name in table.columns:
        for low, high in ((f"{name}_low", f"{name}_high"), (f"{name}/low", f"{name}/high")):
            if low in cells and high in cells:
                known = cells[low] != "-"
                cells[name] = cells[name].where(~known, cells[name] + " (" + cells[low] + "-" + cells[high] + ")")
                cells = cells.drop(columns=[low, high])
    return cells


def _cell(value: object) -> str:
    if value is pd.NA or value is None:
        return "-"
    if isinstance(value, float):
        if value != value:
            return "-"
        return f"{value:,.0f}" if value == round(value) and abs(value) >= 10 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
