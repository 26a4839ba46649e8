"""The rule labeler beside the labels of `radlabels` on the 1,000 synthetic reports inside that package.

    pip download radlabels --no-deps --dest wheels          # MIT; nothing of it is installed or kept here
    python benchmarks/labeler_radlabels.py wheels/radlabels-0.2.0-py3-none-any.whl
    python benchmarks/labeler_radlabels.py wheels/... --show "Lung Lesion"   # where the two differ, even half

The reference is itself made by a program: RadGraph-XL's entities matched with phrases of radiologists. It is no gold
standard, but nobody tuned our rules to it. It calls present what may be there, so look at "positive or uncertain". It
reads the whole text; its matches in sections that do not tell what the image shows (the indication, say) are left out
here. Reports with an even number were read while the rules were written; those with an odd number were not, and
`--half odd` is for the end.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labelers.rules import RuleLabeler
from labelers.sections import read_sections

FOLDER = "radlabels/samples/"
STATES = {"definitely present": 1, "uncertain": -1, "definitely absent": 0}
PRECEDENCE = {1: 2, -1: 1, 0: 0}
#: Our observations, and the findings of radlabels that together mean the same; its congestion includes edema.
FINDINGS = {
    "Enlarged Cardiomediastinum": ("enlarged_cardiomediastinum",),
    "Cardiomegaly": ("cardiomegaly",),
    "Lung Opacity": ("lung_opacity", "ground_glass_opacity", "infiltration", "interstitial_thickening"),
    "Lung Lesion": ("lung_lesion", "lung_nodule_or_mass"),
    "Edema": ("pulmonary_edema", "pulmonary_congestion_pulmonary_venous_congestion"),
    "Consolidation": ("consolidation",),
    "Pneumonia": ("pneumonia",),
    "Atelectasis": ("atelectasis", "lobar_segmental_collapse", "whole_lung_or_majority_collapse"),
    "Pneumothorax": ("pneumothorax",),
    "Pleural Effusion": ("pleural_effusion",),
    "Pleural Other": ("pleural_other", "pleural_thickening"),
    "Fracture": ("fracture_generic", "acute_rib_fracture", "non_acute_rib_fracture"),
    "Support Devices": (
        "support_devices_generic", "enteric_tube", "endotracheal_tube", "central_venous_catheter", "intercostal_drain",
        "pacemaker_electronic_cardiac_device_or_wires", "tracheostomy_tube", "implantable_electronic_device",
    ),
    "Emphysema": ("emphysema",),
    "Subcutaneous Emphysema": ("subcutaneous_emphysema",),
    "Pneumomediastinum": ("pneumomediastinum",),
    "Pneumoperitoneum": ("pneumoperitoneum",),
    "Calcification of the Aorta": ("calcification_of_the_aorta",),
    "Tortuous Aorta": ("tortuous_aorta",),
    "Hyperinflation": ("hyperinflation",),
    "Tracheal Deviation": ("tracheal_deviation",),
    "Bronchial Wall Thickening": ("bronchial_wall_thickening", "peribronchial_cuffing"),
    "Ground Glass Opacity": ("ground_glass_opacity",),
    "Pleural Thickening": ("pleural_thickening",),
    "Endotracheal Tube": ("endotracheal_tube",),
    "Tracheostomy Tube": ("tracheostomy_tube",),
    "Enteric Tube": ("enteric_tube",),
    "Central Venous Catheter": ("central_venous_catheter",),
    "Pacemaker": ("pacemaker_electronic_cardiac_device_or_wires",),
    "Chest Tube": ("intercostal_drain",),
}  # fmt: skip

#: What our labeler and the reference say of an observation; None where they do not speak of it.
Pair = tuple[int | None, int | None]
#: A report: its text, and what the reference says of each finding that it names.
Report = tuple[str, dict[str, int]]


def read(wheel: Path, half: str) -> Iterator[Report]:
    with zipfile.ZipFile(wheel) as archive:
        matches = json.loads(archive.read(f"{FOLDER}synthetic_matches.json"))
        for name, content in matches.items():
            number = int(name.rpartition("_")[2])
            if (number % 2 == 0) == (half == "even"):
                text = archive.read(f"{FOLDER}synthetic_reports/{name}.txt").decode()
                yield text, reference(text, content["text"].split(" "), content["matches"])


def reference(text: str, tokens: list[str], matches: list[dict[str, Any]]) -> dict[str, int]:
    """Returns the state of each finding, of the matches in sections that we read, by precedence."""
    starts, position = [], 0
    for token in tokens:
        place = text.find(token, position, position + 200)
        starts.append(place if place >= 0 else position)
        position = starts[-1] + len(token)
    sections = read_sections(text)
    states: dict[str, int] = {}
    for match in matches:
        places = [starts[i] for i in match["start_ix"]]
        state, finding = STATES[match["label"]], match["disease"]
        if finding == "emphysema" and "subcutaneous" in text[max(0, min(places) - 14) : max(places)].lower():
            continue
        if any(s.start <= place < s.end for s in sections for place in places):
            states[finding] = max(state, states.get(finding, 0), key=PRECEDENCE.__getitem__)
    return states


def joined(states: dict[str, int], findings: tuple[str, ...]) -> int | None:
    said = [states[finding] for finding in findings if finding in states]
    return max(said, key=PRECEDENCE.__getitem__) if said else None


def compare(reports: list[Report]) -> dict[str, list[Pair]]:
    """Returns (ours, theirs) by observation for every report."""
    labeler = RuleLabeler("cxr50")
    found = labeler([text for text, _ in reports])
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for row, (_, states) in zip(found, reports, strict=True):
        for name, findings in FINDINGS.items():
            state = row[labeler.observations.index(name)]
            pairs[name].append((None if state != state else int(state), joined(states, findings)))
    return pairs


def rates(pairs: list[Pair], states: tuple[int, ...]) -> tuple[int, float, float, float]:
    """Returns how often the reference has one of `states`, and our precision, recall and F1 of them."""
    both = sum(a in states and b in states for a, b in pairs)
    ours, theirs = sum(a in states for a, _ in pairs), sum(b in states for _, b in pairs)
    return theirs, both / max(1, ours), both / max(1, theirs), 2 * both / max(1, ours + theirs)


def show(reports: list[Report], pairs: list[Pair]) -> None:
    for (text, _), (ours, theirs) in zip(reports, pairs, strict=True):
        if ours != theirs:
            print(f"ours {ours}, theirs {theirs}\n{text}\n{'-' * 40}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--half", choices=("even", "odd"), default="even")
    parser.add_argument("--show", choices=sorted(FINDINGS), help="print the reports on which the two differ")
    arguments = parser.parse_args()
    if arguments.show and arguments.half == "odd":
        parser.error("the odd half is not to be read")
    reports = list(read(arguments.wheel, arguments.half))
    pairs = compare(reports)
    if arguments.show:
        show(reports, pairs[arguments.show])
        return
    print(f"{len(reports)} reports, {arguments.half} half")
    print(f"{'':28s}{'positive':>24s}{'positive or uncertain':>30s}")
    print(f"{'':28s}{'count precision recall    F1   ' * 2}")
    pairs["micro"] = [pair for values in pairs.values() for pair in values]
    for name, of_name in pairs.items():
        cells = [rates(of_name, states) for states in ((1,), (1, -1))]
        print(f"{name:28s}" + "".join(f"{n:5d}     {p:.3f}  {r:.3f} {f:.3f}   " for n, p, r, f in cells))


if __name__ == "__main__":
    main()
