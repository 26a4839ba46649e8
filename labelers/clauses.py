"""Where, within a sentence, a list of denied things ends and a statement of its own begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from labelers.mentions import FoundCue

_STOPS = frozenset(".;!?:-\u2013\u3002")


def clause_breaks(
    tokens: Sequence[str],
    cues: Mapping[int, FoundCue],
    mentions: Collection[int],
    words: Mapping[str, frozenset[str]],
) -> dict[int, str]:
    """Returns the joints ("," or "and") behind which a new clause begins, and what ends there: "all" or "negative".

    "No effusion and the heart is enlarged" breaks at "and"; "no effusion and pneumothorax are seen" does not, because
    "are seen" only says that something exists. "No effusion, pacemaker in place" and "no effusion, mild edema" break at
    the comma, "no consolidation, large effusion, or pneumothorax" nowhere: "or" shows that the list goes on. Nor does
    "no acute, displaced fracture is seen": nothing was named before the comma.

    Args:
        tokens: Tokens of the sentence.
        cues: Found in it, by their start.
        mentions: Where mentions begin.
        words: Groups of words that show where a clause begins and ends.
    """
    first = min(mentions, default=0)
    joints = [i for i, token in enumerate(tokens) if i > first and token in words["joints"]]
    found = {
        joint: _ends_at(tokens, cues, joint, following, words)
        for joint, following in zip(joints, [*joints[1:], len(tokens)], strict=False)
    }
    return {joint: what for joint, what in found.items() if what}


def _ends_at(
    tokens: Sequence[str],
    cues: Mapping[int, FoundCue],
    joint: int,
    following: int,
    words: Mapping[str, frozenset[str]],
) -> str:
    """Returns which cues end at `joint`: all where a verb follows, negations where a finding is described, or ""."""
    verbs, comma = words["verbs"], tokens[joint] == ","
    described = False
    for i in range(joint + 1, following):
        token = tokens[i]
        if token in _STOPS or (i in cues and cues[i].cue.effect == "end"):
            break
        if token in verbs:
            exists = any(word in words["existence"] for word in tokens[i + 1 : i + 4])
            return "all" if not exists or (comma and _is_first_comma(tokens, joint)) else ""
        described = (
            described or token in words["descriptions"] or (comma and i == joint + 1 and token in words["degrees"])
        )
    if not described or tokens[joint] == "or" or tokens[joint - 1] in words["descriptions"]:
        return ""  # "normal and unchanged contours" are two words for one thing
    return "" if _list_goes_on(tokens, following) else "negative"


def _is_first_comma(tokens: Sequence[str], joint: int) -> bool:
    """Tells whether no comma stands before `joint`: "no effusion, atelectasis is present" is no list of three."""
    return "," not in tokens[:joint]


def _list_goes_on(tokens: Sequence[str], start: int) -> bool:
    """Tells whether an "or" follows before the next stop."""
    for token in tokens[start:]:
        if token in _STOPS:
            return False
        if token in ("or", "nor"):
            return True
    return False
