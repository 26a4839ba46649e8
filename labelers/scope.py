"""What a sentence says of its mentions: cues of negation and uncertainty, their direction, where their reach ends.

Two passes over the tokens carry the cue in force from left to right and from right to left; each mention then
looks up what holds at its place. The work is linear in the length of the sentence. The idea of cues with a
direction and terminators is NegEx's and ConText's (Chapman et al. 2001; Harkema et al. 2009); that a hedge inside a
negation stays denied, that a new clause with its own verb ends a list, and that normal statements deny what they
speak of, is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labelers.mentions import FoundCue, Mention
from labelers.vocabulary import Cue

#: How many tokens a cue reaches at most.
REACH_AFTER, REACH_BEFORE, REACH_NORMAL = 40, 25, 8

_STOPS = frozenset(".;!。")  # a colon stops what comes before it only: "Pneumothorax: none"
#: Where both sides speak, the first of these wins.
_PRECEDENCE = ("doubt", "ignore", "negative", "uncertain")
_STATE_OF = {"doubt": "uncertain", "ignore": "ignored", "negative": "negative", "uncertain": "uncertain"}


class Scopes:
    """The cues of one sentence, ready to be asked about its mentions."""

    def __init__(
        self, tokens: Sequence[str], cues: Sequence[FoundCue], *, clause_words: Mapping[str, frozenset[str]]
    ) -> None:
        self._verbs = clause_words.get("verbs", frozenset())
        self._existence = clause_words.get("existence", frozenset())
        self._joints = clause_words.get("joints", frozenset())
        self._near_ends = clause_words.get("near ends", frozenset())
        self._tokens = tokens
        self._starts = {cue.start: cue for cue in cues}
        self._stops = {cue.end: cue for cue in cues}
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
        return state

    def _state_of_subject(self, mention: Mention) -> tuple[str, FoundCue | None]:
        for cue in (self._before_normal[mention.end - 1], self._after_normal[mention.start]):
            if cue is not None:
                denied = self._after[cue.start]
                if denied is None or denied.cue.effect not in ("negative", "ignore"):
                    return "negative", cue
        return "ignored", None

    def _forward(self) -> tuple[list[FoundCue | None], list[FoundCue | None]]:
        """Returns, for every token, the cue before it that holds there: of state, and of normality."""
        active: FoundCue | None = None
        normal: FoundCue | None = None
        comma_since = False
        breaks = self._clause_breaks()
        after: list[FoundCue | None] = []
        after_normal: list[FoundCue | None] = []
        for i, token in enumerate(self._tokens):
            found = self._stops.get(i)
            if found is not None:
                cue = found.cue
                if cue.effect == "normal":
                    normal = found if cue.reach in ("after", "both") else normal
                elif cue.effect == "end":
                    normal = None
                    if active is not None and cue.reach in ("all", active.cue.effect):
                        active = None
                elif cue.reach in ("after", "both", "near") and not self._is_held(active, cue, comma_since):
                    active, comma_since = found, False
            if token in _STOPS or token == ":" or i in breaks:
                active = normal = None
            if active is not None and active.cue.reach == "near" and token in self._near_ends:
                active = None
            if token in (",", "、"):
                comma_since = True
            if active is not None and i - active.end >= REACH_AFTER:
                active = None
            if normal is not None and i - normal.end >= REACH_NORMAL:
                normal = None
            after.append(active)
            after_normal.append(normal)
        return after, after_normal

    @staticmethod
    def _is_held(active: FoundCue | None, cue: Cue, comma_since: bool) -> bool:
        """Tells whether the cue in force outlasts `cue`: "no opacity to suggest pneumonia" denies both."""
        if active is None or comma_since:
            return False
        if cue.reach == "near" and active.cue.effect == cue.effect:
            return True  # "may be atelectasis versus consolidation, pneumonia": what reaches far says as much
        held = {"negative": ("uncertain",), "ignore": ("uncertain", "negative"), "doubt": ("negative", "uncertain")}
        return cue.effect in held.get(active.cue.effect, ())

    def _backward(self) -> tuple[list[FoundCue | None], list[FoundCue | None]]:
        """Returns, for every token, the cue after it that holds there: of state, and of normality."""
        size = len(self._tokens)
        before: list[FoundCue | None] = [None] * size
        before_normal: list[FoundCue | None] = [None] * size
        active: FoundCue | None = None
        normal: FoundCue | None = None
        verbs_active = verbs_normal = 0
        for i in range(size - 1, -1, -1):
            token = self._tokens[i]
            if token in _STOPS:
                active = normal = None
            if token in self._verbs:
                verbs_active, verbs_normal = verbs_active + 1, verbs_normal + 1
                active = None if verbs_active > 1 else active
                normal = None if verbs_normal > 1 else normal
            if active is not None and active.cue.reach == "near" and token in self._near_ends:
                active = None
            if active is not None and active.start - i > REACH_BEFORE:
                active = None
            if normal is not None and normal.start - i > REACH_BEFORE:
                normal = None
            before[i], before_normal[i] = active, normal
            found = self._starts.get(i)
            if found is None:
                continue
            cue = found.cue
            if cue.effect == "end" and cue.reach == "all":
                active = normal = None
            elif cue.effect == "normal" and cue.reach in ("before", "both"):
                normal, verbs_normal = found, 0
            elif cue.effect not in ("normal", "end", "pseudo") and cue.reach in ("before", "both", "near"):
                active, verbs_active = found, sum(t in self._verbs for t in self._tokens[found.start : found.end])
        return before, before_normal

    def _clause_breaks(self) -> set[int]:
        """Returns the joints ("," or "and") behind which a new clause with its own verb begins.

        "No effusion and the heart is enlarged" breaks at "and"; "no effusion and pneumothorax are seen" does not,
        because "are seen" only says that something exists.
        """
        breaks: set[int] = set()
        joint: int | None = None
        for i, token in enumerate(self._tokens):
            if token in self._joints:
                joint = i
            elif token in self._verbs:
                following = self._tokens[i + 1 : i + 4]
                if joint is not None and not any(word in self._existence for word in following):
                    breaks.add(joint)
                joint = None
        return breaks
