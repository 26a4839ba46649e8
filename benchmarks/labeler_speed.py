"""Reports per second of our rule labeler and of medspaCy, side by side in one run, on one core.

    python benchmarks/labeler_speed.py /data/openi
    pip install medspacy        # to have medspaCy beside it

"new" is the first time a labeler sees the reports, "seen" the second: reports repeat themselves, and a sentence is
analysed once. Then 2 MB in one line, made to hurt, and start-up.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from labelers.rules import RuleLabeler
from labelers.sections import select_text
from labelers.vocabulary import load_vocabulary
from medclip.sources.openi import Openi

HURTFUL = {
    "no full stop": "no effusion or pneumothorax and ",
    "cues only": "no not without cannot ",
    "markers": "1) 2. 3) ",
    "stops": ". ",
    "blanks": "\n \n",
    "one word": "a",
    "gaps": "heart heart heart ",
    "capitals": "FINDINGS ",
    "colons": "findings: ",
}


def rate(label: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    start = time.perf_counter()
    label(texts)
    return len(texts) / (time.perf_counter() - start)


def medspacy_labeler() -> Callable[[Sequence[str]], object] | None:
    """Returns medspaCy's target matcher and ConText with our plain phrases, or None where it is not installed."""
    try:
        import medspacy
        from medspacy.target_matcher import TargetRule
    except ImportError:
        return None
    pipeline = medspacy.load()
    phrases = [p for p in load_vocabulary("chexpert14").phrases if p.kind == "positive"]
    plain = {
        (w.rstrip("*"), p.observation) for p in phrases for w in p.pattern.split("|") if w.replace(" ", "").isalpha()
    }
    pipeline.get_pipe("medspacy_target_matcher").add([TargetRule(word, name) for word, name in sorted(plain)])
    return lambda texts: [pipeline(text) for text in texts]


def main(folder: str) -> None:
    texts = [select_text(text) for text in Openi(Path(folder)).texts()["text"]]
    rows = []
    ours = RuleLabeler()
    ours(["The heart is normal."])
    rows.append(("ours, new", rate(ours, texts)))
    rows.append(("ours, seen", rate(ours, texts)))
    other = medspacy_labeler()
    if other is not None:
        other(texts[:5])
        rows.append(("medspaCy", rate(other, texts[:300])))
    for name, found in rows:
        print(f"{name:12s} {found:10.0f} reports/s")
    if other is not None:
        print(f"{'ratio':12s} {rows[0][1] / rows[2][1]:10.1f} times medspaCy on new reports")
    for name, piece in HURTFUL.items():
        text = piece * (2_000_000 // len(piece))
        start = time.perf_counter()
        RuleLabeler()([text])
        print(f"2 MB of {name:14s} {time.perf_counter() - start:6.2f} s")
    start = time.perf_counter()
    code = "import sys, labelers; labelers.load_labeler()(['No effusion.']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    print(f"start-up, first label, no torch: {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main(sys.argv[1])
