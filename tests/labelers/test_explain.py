from __future__ import annotations

import html
import json
import re

from labelers.explain import explain_html, explain_json, explain_page, explain_rows
from labelers.rules import RuleLabeler

TEXT = "FINDINGS: The heart is enlarged. No pleural effusion <left>.\nIMPRESSION: Pneumonia cannot be excluded."


def test_rows_point_into_the_text() -> None:
    rows = explain_rows(TEXT, RuleLabeler().explain(TEXT))
    by_name = {row["observation"]: row for row in rows}
    assert by_name["Pleural Effusion"]["mention"] == "pleural effusion"
    assert by_name["Pleural Effusion"]["cue"] == "No"
    assert by_name["Pneumonia"]["cue"] == "cannot be excluded"
    assert by_name["Cardiomegaly"]["sentence"] == "The heart is enlarged."


def test_json_holds_states_and_offsets() -> None:
    found = json.loads(explain_json(RuleLabeler(), TEXT))
    assert found["states"] == {"Cardiomegaly": 1, "Pleural Effusion": 0, "Pneumonia": -1}
    assert all(TEXT[slice(*e["span"])] == e["mention"] for e in found["evidence"])


def test_a_page_of_several_reports_says_what_it_leaves_out() -> None:
    page = explain_page(RuleLabeler(), [("a<1>", TEXT), ("b", "Normal chest.")], left_out=198)
    assert re.findall(r"<h2>(.*)</h2>", page) == ["a&lt;1&gt;", "b"]
    assert "Shown: the first 2 of 200 reports; 198 are left out." in page
    assert "left out" not in explain_page(RuleLabeler(), [("a", TEXT)])


def test_that_nothing_was_found_has_no_colour_of_a_disease() -> None:
    page = explain_html(RuleLabeler(), "Normal chest radiograph.")
    assert re.search(r'<tr class="normal"><td>No Finding</td><td>positive</td>', page)
    assert '<mark class="normal">No Finding positive</mark>' in page  # the legend


def test_the_page_shows_the_whole_text_escaped_and_coloured() -> None:
    page = explain_html(RuleLabeler(), TEXT)
    shown = re.search(r"<pre>(.*)</pre>", page, re.S).group(1)
    assert html.unescape(re.sub(r"</?(?:mark|u)[^>]*>", "", shown)) == TEXT
    assert "&lt;left&gt;" in page
    for state, mention in (
        ("positive", "heart is enlarged"),
        ("negative", "pleural effusion"),
        ("uncertain", "Pneumonia"),
    ):
        assert re.search(rf'<mark class="{state}"[^>]*>{mention}</mark>', page)
    assert "<u>No</u>" in page
    assert "http" not in page
