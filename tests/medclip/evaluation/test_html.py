from __future__ import annotations

import re
from base64 import b64encode

import pandas as pd

from medclip.evaluation.html import Page


def test_a_page_is_whole_in_itself_and_shows_text_as_text() -> None:
    page = Page("A <b> & c", "below")
    page.section("Numbers", "see <script>")
    page.table(
        pd.DataFrame({"what": ["<i>"], "auroc": [0.81234], "auroc_low": [0.7], "auroc_high": [0.9], "n": [1200]})
    )
    page.figure(b"a picture", "a curve")
    page.fold("of <others>")
    page.figure(b"another", "a curve of theirs")
    page.unfold()
    page.table(pd.DataFrame({"n": [1]}), "One & only")
    page.code("a: <1>")
    html = page.render()
    assert html.startswith("<!doctype html>")
    assert html.count(f"data:image/png;base64,{b64encode(b'a picture').decode()}") == 1
    assert "0.812 (0.700-0.900)" in html
    assert "1,200" in html
    assert html.index("<summary>of &lt;others&gt;") < html.index("a curve of theirs") < html.index("</details>")
    assert '<p class="caption">One &amp; only</p><table' in html
    assert "auroc_low" not in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html and "<i>" not in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
