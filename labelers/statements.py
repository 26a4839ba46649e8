"""A sentence that has been read to its statements: mentions, their states and their attributes joined."""

from __future__ import annotations

from collections.abc import Sequence

from labelers.attachment import Attribute
from labelers.attributes import Attributes, side_of
from labelers.findings import NOTHING, STATES, AttributeSpan, Description, Span, Statement
from labelers.mentions import FoundCue, Mention
from labelers.patterns import fold
from labelers.sizes import Size, find_sizes

#: A mention, its state ("positive", "negative", "uncertain" or "ignored"), and the cue that decided.
ReadMention = tuple[Mention, str, FoundCue | None]


def statements(
    sentence: str, tokens: Sequence[str], read: Sequence[ReadMention], names: Sequence[str], attributes: Attributes
) -> tuple[Statement, ...]:
    """Returns what `sentence` says, one statement for each mention and observation.

    Args:
        sentence: The text.
        tokens: Tokens of the sentence.
        read: Its mentions with their states.
        names: Names of the observations that mentions point to.
        attributes: Attributes in the vocabulary's language.
    """
    named: list[ReadMention] = []
    organs: list[Mention] = []  # "the left lung" of which nothing is said takes no side from the finding beside it
    counted = False
    for entry in read:
        counted = counted or entry[1] in STATES
        if entry[1] in STATES or entry[0].kind != "subject":
            named.append(entry)
        else:
            organs.append(entry[0])
    if not counted:
        return ()
    spans = _spans(sentence, tokens)
    sizes = [_size_attribute(size, spans) for size in find_sizes(sentence)]
    told = attributes(tokens, [mention for mention, _, _ in named], organs=organs, sizes=sizes)
    found: list[Statement] = []
    for entry, of_mention in zip(named, told, strict=True):
        if entry[1] in STATES:
            description = _describe(sentence, spans, of_mention) if of_mention else NOTHING
            found += _of_mention(sentence, tokens, spans, entry, description, names, attributes)
    return tuple(found)


def _of_mention(
    sentence: str,
    tokens: Sequence[str],
    spans: Sequence[Span],
    entry: ReadMention,
    description: Description,
    names: Sequence[str],
    attributes: Attributes,
) -> list[Statement]:
    mention, state, cue = entry
    by_cue = attributes.certainty(tuple(tokens[max(0, cue.start - 1) : cue.end])) if cue else ""
    certainty = _certainty(state, description.certainty, by_cue)
    span, cue_span = _characters(mention, spans), _characters(cue, spans) if cue else None
    line, cue_line = mention.pattern, cue.cue.pattern if cue else ""
    return [
        Statement(sentence, names[i], state, certainty, description, span, line, cue_line, cue_span)
        for i in mention.observations
    ]


def _describe(sentence: str, spans: Sequence[Span], told: tuple[Attribute, ...]) -> Description:
    values = {a.kind: a.value for a in told}
    size = next((a.size for a in told if a.size is not None), None) if "size" in values else None
    comparison = next(a for a in told if a.kind == "comparison") if "comparison" in values else None
    return Description(
        side_of(told) if "side" in values else "",
        tuple([a.value for a in told if a.kind == "location"]) if "location" in values else (),
        values.get("severity", ""),
        size.mm if size else (),
        size.low_mm if size else None,
        values.get("course", ""),
        sentence[slice(*_characters(comparison, spans))] if comparison else "",
        values.get("certainty", ""),
        tuple([AttributeSpan(a.kind, a.value, spans[a.start][0], spans[a.end - 1][1]) for a in told]),
    )


def _spans(sentence: str, tokens: Sequence[str]) -> list[Span]:
    """Returns the characters of each token; between two tokens stand only characters that begin none."""
    folded, spans, end = fold(sentence), [], 0
    for token in tokens:
        start = folded.find(token, end)
        end = start + len(token)
        spans.append((start, end))
    return spans


def _characters(tokens: Mention | FoundCue | Attribute, spans: Sequence[Span]) -> Span:
    return spans[tokens.start][0], spans[tokens.end - 1][1]


def _certainty(state: str, said: str, by_cue: str) -> str:
    """Returns the grade of a state, given what is said beside the mention and by the deciding cue."""
    if state == "positive":
        return "likely" if said == "likely" else "present"
    if state == "negative":
        return "unlikely" if "unlikely" in (said, by_cue) else "absent"
    return by_cue or said or "possible"


def _size_attribute(size: Size, spans: Sequence[Span]) -> Attribute:
    """Returns a size as an attribute, in tokens."""
    start = next(i for i, (_, end) in enumerate(spans) if end > size.start)
    end = next((i for i, (first, _) in enumerate(spans) if first >= size.end), len(spans))
    return Attribute("size", "", start, end, size)
