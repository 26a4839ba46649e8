"""Reports per second of findings beside labels alone, in one run, on one core; and memory on many reports.

    python benchmarks/labeler_findings.py /data/openi
    python benchmarks/labeler_findings.py /data/openi --reports 1000000   # memory, on reports made to be all different

"new" is the first time a labeler sees the reports, "seen" the second: a sentence is analysed once. Seconds are those
that the process has computed, so that other processes do not count; the best of three runs, each with a labeler of its
own. "labels and lines" is what `medclip-label --findings` does.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from labelers.exports import load_export
from labelers.rules import RuleLabeler
from medclip.sources.openi import Openi

RUNS = 3


def labels(labeler: RuleLabeler, texts: Sequence[str]) -> None:
    labeler(texts)


def records(labeler: RuleLabeler, texts: Sequence[str]) -> None:
    for text in texts:
        labeler.findings(text)


def lines(form: str) -> Callable[[RuleLabeler, Sequence[str]], None]:
    export = load_export(form)

    def write(labeler: RuleLabeler, texts: Sequence[str]) -> None:
        for i, text in enumerate(texts):
            export(str(i), text, labeler.findings(text), labeler=labeler.name)

    return write


def both(labeler: RuleLabeler, texts: Sequence[str]) -> None:
    export = load_export("jsonl")
    _, found = labeler.labels_and_findings(texts)
    for i, (text, findings) in enumerate(zip(texts, found, strict=True)):
        export(str(i), text, findings, labeler=labeler.name)


def rates(
    work: Callable[[RuleLabeler, Sequence[str]], None], vocabulary: str, texts: Sequence[str]
) -> tuple[float, ...]:
    """Returns reports per second, new and seen."""
    best = [0.0, 0.0]
    for _ in range(RUNS):
        labeler = RuleLabeler(vocabulary)
        labeler(["The heart is normal."])
        for i in range(2):
            start = time.process_time()
            work(labeler, texts)
            best[i] = max(best[i], len(texts) / (time.process_time() - start))
    return tuple(best)


def different(texts: Sequence[str], count: int) -> Iterator[str]:
    """Yields reports of which no two have a sentence in common, so that no cache helps."""
    for i in range(count):
        yield texts[i % len(texts)].replace(".", f" on film {i}.")


def memory(texts: Sequence[str], count: int) -> None:
    labeler, export = RuleLabeler("cxr50"), load_export("jsonl")
    start = time.process_time()
    for i, text in enumerate(different(texts, count), start=1):
        export(str(i), text, labeler.findings(text), labeler=labeler.name)
        if i % (count // 10) == 0:
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{i:9d} different reports  {used:7.0f} MiB  {i / (time.process_time() - start):7.0f} reports/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openi", type=Path)
    parser.add_argument("--reports", type=int, default=0, help="measure memory on so many different reports instead")
    arguments = parser.parse_args()
    texts = Openi(arguments.openi).texts()["text"].tolist()
    if arguments.reports:
        memory(texts, arguments.reports)
        return
    jobs = {"labels": labels, "findings": records, "findings and JSON lines": lines("jsonl"), "labels and lines": both}
    jobs |= {f"findings and {form}": lines(form) for form in ("fhir", "radgraph")}
    print(f"{len(texts)} reports; reports/s   {'new':>8s} {'seen':>8s}")
    for vocabulary in ("chexpert14", "cxr50"):
        for name, work in jobs.items():
            new, seen = rates(work, vocabulary, texts)
            print(f"{vocabulary:11s} {name:24s} {new:8.0f} {seen:8.0f}")


if __name__ == "__main__":
    main()
