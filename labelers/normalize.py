"""Letters that only look different, made the same before anything is read, with the way back to the original text.

Line ends of all systems become "\\n", spaces of all widths " ", ligatures their letters; soft hyphens and hyphens that
only break a known word at a line end go. What a character means in a sentence is not decided here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Traditional Chinese characters and the simplified ones of the lexicon.
_TRADITIONAL = (
    "與兩為於側傾內況減動佔雙發變葉後複復塊實寬對導屬擴斷無顯術氣滲狀現積結維縮緊紋腫脹臟診議論"
    "質轉輕較進連鈣鈍銳陰陽陳難項訴癥彎檢異節約纖縱徑臨慮見隻門麵衹團點圓網邊間總穩張態確沒舊學"
)
_SIMPLIFIED = (
    "与两为于侧倾内况减动占双发变叶后复复块实宽对导属扩断无显术气渗状现积结维缩紧纹肿胀脏诊议论"
    "质转轻较进连钙钝锐阴阳陈难项诉症弯检异节约纤纵径临虑见只门面只团点圆网边间总稳张态确没旧学"
)
_SAME_LENGTH = str.maketrans(
    {chr(0xFEE0 + code): chr(code) for code in range(0x21, 0x7F) if chr(code).isalnum() or chr(code) in "-+=|/."}
    | dict(zip(_TRADITIONAL, _SIMPLIFIED, strict=True))
    | dict.fromkeys("\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))), " ")
    | dict.fromkeys("\v\f\x1c\x1d\x1e\x85\u2028\u2029", "\n")
    | dict.fromkeys("\u2018\u2019\u02bc\u00b4\u2032`", "'")
    | dict.fromkeys("\u2010\u2011\u2012\u2212\ufe63", "-")
    | dict.fromkeys("\u2014\u2015", "\u2013")
    | dict.fromkeys("\u00b7\u2023\u2043\u2219\u25a0\u25a1\u25aa\u25cf\u25e6\u27a2\uf0b7\uf0a7", "\u2022")
)
_LIGATURES = dict(
    zip("\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06", ["ff", "fi", "fl", "ffi", "ffl", "st", "st"], strict=True)
)
_ODD = re.compile(
    r"[\ufb00-\ufb06]|[\u00ad\u200b-\u200d\u2060\ufeff](?:\n[ \t]*)?"
    r"|(?P<tag></?(?:br|p|div|li|ul|ol|b|i|u|strong)\s*/?>)"
    r"|(?P<first>[^\W\d_]{2,40}+)-[ \t]*\n[ \t]*(?P<second>[a-zA-Z]{2,})",
    re.IGNORECASE,
)
_BROKEN_WORD = re.compile(r"-[ \t]*\n")
_LINE_TAGS = ("br", "p", "div", "li", "ul", "ol")


@dataclass(frozen=True, slots=True)
class Normalized:
    """A text made plain.

    Attributes:
        text: The plain text.
        starts: Positions in `text` from which on the original is shifted; empty where nothing was.
        shifts: Offset that applies from each of `starts` on.
    """

    text: str
    starts: Sequence[int] = ()
    shifts: Sequence[int] = ()

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Returns the characters [start, end) of the original that became [start, end) of `text`."""
        return (start + self._shift(start), end - 1 + self._shift(end - 1) + 1) if end > start else (start, end)

    def _shift(self, position: int) -> int:
        index = bisect_right(self.starts, position) - 1
        return self.shifts[index] if index >= 0 else 0


def normalize(text: str, *, knows: Callable[[str], bool]) -> Normalized:
    """Returns `text` made plain.

    Args:
        text: Any text.
        knows: Tells whether a word in lower case is one the lexicon speaks of. "pneumo-" and "thorax" on two lines are
            one word because it knows "pneumothorax"; "mass-" and "like" stay two where it does not know "masslike".
    """
    if _is_plain(text):
        return Normalized(text)
    plain = text.replace("\r\n", " \n").replace("\r", "\n").translate(_SAME_LENGTH)
    pieces: list[str] = []
    starts: list[int] = []
    shifts: list[int] = []
    position = length = 0
    for match in _ODD.finditer(plain):
        replacement = _replacement(match, knows)
        pieces += [plain[position : match.start()], replacement]
        length += match.start() - position + len(replacement)
        position = match.end()
        if len(replacement) != match.end() - match.start():
            starts.append(length)
            shifts.append(position - length)
    return Normalized("".join([*pieces, plain[position:]]), starts, shifts) if pieces else Normalized(plain)


def _is_plain(text: str) -> bool:
    return (
        text.isascii()
        and text.replace("\n", "").isprintable()
        and "<" not in text
        and _BROKEN_WORD.search(text) is None
    )


def _replacement(match: re.Match[str], knows: Callable[[str], bool]) -> str:
    if match["tag"]:
        return "\n" if match["tag"].strip("</> ").lower() in _LINE_TAGS else " "
    if match["first"]:
        joined = match["first"] + match["second"]
        return joined if knows(joined.lower()) else match.group()
    return _LIGATURES.get(match.group(), "")
