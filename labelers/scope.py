"""What a sentence says of its mentions: cues of negation and uncertainty, their direction, where their reach ends.

Two passes over the tokens carry the cue in force from left to right and from right to left; each mention then
looks up what holds at its place. The work is linear in the length of the sentence. The idea of cues with a
direction and terminators is NegEx's and ConText's (Chapman et al. 2001; Harkema et al. 2009); that a hedge inside a
negation stays denied, that a new clause with its own verb ends a list, and that normal statements deny what they
speak of, is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labelers.clauses import clause_breaks
from labelers.lexicon_files import Cue
from labelers.mentions import FoundCue, Mention

#: How many tokens a cue reaches at most.
REACH_AFTER, REACH_BEFORE, REACH_NORMAL = 40, 25, 8

_STOPS = frozenset(".;!。")
#: These stop what comes before them only: "Pneumothorax: none", "Effusion \u2013 not seen".
_FORWARD_STOPS = _STOPS | frozenset(":-\u2013")
#: Where both sides speak, the first of these wins.
_PRECEDENCE = ("positive", "doubt", "ignore", "negative", "uncertain")
_STATE_OF = {"positive": "positive", "doubt": "uncertain", "ignore": "ignored", "negative": "negative",
             "uncertain": "uncertain"}  # fmt: skip
_BACKWARD = frozenset(("before", "both", "near", "between", "answer"))
_FORWARD = frozenset(("after", "both", "near", "between"))

#: For every token of a sentence, the cue that holds there.
Held = list[FoundCue | None]


class Scopes:
    """The cues of one sentence, ready to be asked about its mentions.

    Args:
        tokens: Tokens of the sentence.
        cues: Found in it.
        mentions: Found in it.
        clause_words: Groups of words that show where a clause begins and ends.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        cues: Sequence[FoundCue],
        mentions: Sequence[Mention],
        *,
        clause_words: Mapping[str, frozenset[str]],
    ) -> None:
        if not cues:
            nothing: Held = [None] * len(tokens)
            self._after = self._after_normal = self._before = self._before_normal = nothing
            return
        self._words = clause_words
        self._tokens = tokens
        self._mentions = mentions
        self._mention_starts = {mention.start for mention in mentions}
        self._starts = {cue.head: cue for cue in cues}
        self._ends = {cue.start: cue for cue in cues if cue.cue.effect == "end"}
        self._stops = {cue.end: cue for cue in cues if cue.cue.effect != "end"}
        self._after, self._after_normal = self._forward()
        self._before, self._before_normal = self._backward()

    def state_of(self, mention: Mention) -> tuple[str, FoundCue | None]:
        """Returns "positive", "negative", "uncertain" or "ignored", and the cue that decided it."""
        if mention.kind == "subject":
            return self._state_of_subject(mention)
        sides = [self._after[mention.head], self._before[mention.end - 1]]
        for effect in _PRECEDENCE:
            for cue in sides:
                if cue is not None and cue.cue.effect == effect:
                    return self._combine(mention.kind, _STATE_OF[effect]), cue
        return mention.kind, None

    @staticmethod
    def _combine(kind: str, state: str) -> str:
        if kind == "negative":  # "no normal chest" is not modelled: a denial stays one unless it is ignored
            return state if state in ("ignored", "uncertain") else kind
        return kind if state == "positive" else state

    def _state_of_subject(self, mention: Mention) -> tuple[str, FoundCue | None]:
        for cue in (self._before_normal[mention.end - 1], self._after_normal[mention.start]):
            if cue is not None:
                denied = self._after[cue.start]
                if denied is None or denied.cue.effect not in ("negative", "ignore"):
                    return "negative", cue
        return "ignored", None

    def _forward(self) -> tuple[Held, Held]:
        """Returns, for every token, the cue before it that holds there: of state, and of normality."""
        size = len(self._tokens)
        after: Held = [None] * size
        after_normal: Held = [None] * size
        first = min([end for end, found in self._stops.items() if found.cue.reach in _FORWARD], default=size)
        last = self._last_asked()
        if first > last:
            return after, after_normal
        active: FoundCue | None = None
        normal: FoundCue | None = None
        comma_since = False
        breaks = clause_breaks(self._tokens, self._starts, self._mention_starts, self._words)
        near_ends = self._words["near ends"]
        for i in range(first, last + 1):
            token = self._tokens[i]
            found = self._stops.get(i)
            if found is not None:
                cue = found.cue
                if cue.effect == "normal":
                    normal = found if cue.reach in ("after", "both") else normal
                elif cue.reach in _FORWARD and not self._is_held(active, cue, comma_since):
                    active, comma_since = found, False
            if i in self._ends:
                reach = self._ends[i].cue.reach
                active = None if active is None or reach in ("all", active.cue.effect) else active
                normal = normal if reach == "negative" else None
            if token in _FORWARD_STOPS or breaks.get(i) == "all":
                active = normal = None
            elif i in breaks:
                active = None if active is None or active.cue.effect == "negative" else active
            if active is not None and (
                (active.cue.reach in ("near", "between") and token in near_ends) or i - active.end >= REACH_AFTER
            ):
                active = None
            if token in (",", "、"):
                comma_since = True
            if normal is not None and i - normal.end >= REACH_NORMAL:
                normal = None
            after[i], after_normal[i] = active, normal
        return after, after_normal

    def _last_asked(self) -> int:
        """Returns the last token at which it matters what a cue before it says: a mention, or a cue of normality."""
        asked = [mention.head for mention in self._mentions]
        return max([*asked, *(cue.start for cue in self._starts.values() if cue.cue.effect == "normal")], default=-1)

    @staticmethod
    def _is_held(active: FoundCue | None, cue: Cue, comma_since: bool) -> bool:
        """Tells whether the cue in force outlasts `cue`: "no opacity to suggest pneumonia" denies both."""
        if active is None:
            return False
        if cue.reach == "between":
            return True
        if comma_since:
            return False
        if cue.reach == "near" and active.cue.effect == cue.effect:
            return True  # "may be atelectasis versus consolidation, pneumonia": what reaches far says as much
        held = {"negative": ("uncertain",), "ignore": ("uncertain", "negative"), "doubt": ("negative", "uncertain")}
        return cue.effect in held.get(active.cue.effect, ())

    def _backward(self) -> tuple[Held, Held]:
        """Returns, for every token, the cue after it that holds there: of state, and of normality."""
        size = len(self._tokens)
        before: Held = [None] * size
        before_normal: Held = [None] * size
        last = max([head for head, found in self._starts.items() if found.cue.reach in _BACKWARD], default=-1)
        verbs, near_ends, causes = self._words["verbs"], self._words["near ends"], self._words["causes"]
        active: FoundCue | None = None
        normal: FoundCue | None = None
        verbs_active = verbs_normal = 0
        for i in range(last, min([mention.end for mention in self._mentions], default=len(self._tokens)) - 2, -1):
            token = self._tokens[i]
            effect = active.cue.effect if active is not None else ""
            if token in _STOPS:
                active, normal = active if effect == "positive" else None, None
            if token in verbs:
                verbs_active, verbs_normal = verbs_active + 1, verbs_normal + 1
                active = None if verbs_active > 1 and effect != "positive" else active
                normal = None if verbs_normal > 1 else normal
            if active is not None and (
                (active.cue.reach in ("near", "between") and token in near_ends)
                or (effect == "uncertain" and token in causes)
                or active.head - i > REACH_BEFORE
            ):
                active = None
            if normal is not None and normal.start - i > REACH_BEFORE:
                normal = None
            before[i], before_normal[i] = active, normal
            if effect == "positive" and i in self._mention_starts:
                active = None  # "small right one" speaks of the last finding named, not of those before it
            found = self._starts.get(i)
            if found is None:
                continue
            cue = found.cue
            if cue.effect == "end" and cue.reach == "all":
                if effect != "positive" and (active is None or self._speaks(found.end, active.head)):
                    active = None  # but "effusion is unlikely but not excluded" has one subject only
                normal = None
            elif cue.effect == "normal" and cue.reach in ("before", "both"):
                normal, verbs_normal = found, 0
            elif (
                cue.effect not in ("normal", "end", "pseudo")
                and cue.reach in _BACKWARD
                and self._takes_over(active, cue)
            ):
                active, verbs_active = found, sum(t in verbs for t in self._tokens[found.head : found.end])
        return before, before_normal

    @staticmethod
    def _takes_over(active: FoundCue | None, cue: Cue) -> bool:
        """Tells whether `cue` holds before itself, whatever stands behind it: an answer belongs to its question."""
        return active is None or cue.reach == "answer" or (cue.reach != "between" and active.cue.reach != "answer")

    def _speaks(self, start: int, end: int) -> bool:
        """Tells whether a mention begins between two tokens."""
        return any(start <= mention < end for mention in self._mention_starts)
