"""What stands above each table and below each figure of the page: plain sentences, by its name."""

from __future__ import annotations

TABLES = {
    "zero_shot": "Each observation: how many images are known to have it and not to have it, the area under the ROC "
    "curve (AUROC), average precision (ap) and F1, each with its interval; beside it what scores that say nothing get.",
    "classes": "Images with exactly one of the classes: what they have (rows) and what they were taken for (columns). "
    "By chance each column gets the same share.",
    "denial": "AUROC when images are ranked by claims alone (pos), by denials alone turned round (neg), by both (pnc).",
    "prompt_draws": "The same numbers with prompts drawn at random: how much they owe to the wording.",
    "groups": "Images of one group at a time, of ten patients and more; positives are counted over observations.",
    "places": "The same observations at each hospital or test set, and the difference to the first one.",
    "flip": "Sentences that claim or deny an observation, and how often the image was nearer to the true one.",
    "retrieval": "How many images and sentences of each class there are to be found; chance levels are in the summary.",
    "few_shot": "Mean AUROC over draws and the middle 95 % of them, after so many labelled images of the rarer state.",
    "few_shot_draws": "Each draw.",
    "linear_probe": "Mean AUROC by share of the labels; chance is .5.",
    "fine_tune": "Mean AUROC by share of the labels; chance is .5.",
    "grounding": "Boxes by observation; by_chance is what a map of noise gets, of_others a map of another patient.",
    "abstention": "Share of patients in whom a state is not excluded (coverage), of images answered, of wrong answers.",
    "abstention_curve": "Error and share answered for several promises.",
    "abstention_refused": "Observations without an answer.",
    "severity": "Rank correlation with the readers' scores; chance is 0.",
    "subgroups": "Errors by group, as means over the observations it has enough of; a gap is the group less everybody "
    "else, over the same observations. The calibration error (ece) of few images is higher even if nothing is wrong.",
    "subgroups_observations": "Errors by group and observation.",
    "subgroups_too_small": "Groups too small to report.",
    "calibration": "Probabilities after fitting; always saying the prevalence has a skill of 0.",
    "calibration_refused": "Observations without probabilities.",
    "reliability": "Probability that was said, and how often it came true.",
    "prompt_styles": "The same observations asked about in each style; one left out has no number.",
    "prompt_styles_observations": "AUROC by observation and style, and the best style less the worst.",
    "composed": "Films that lack one finding of a film and keep the rest; in a random order the chance columns.",
    "side": "Left against right, among images that have the observation; chance is .5.",
    "size": "Small against large, among images that have the observation; chance is .5.",
}

FIGURES = {
    "prompts": "How similar images labelled so (rows) are to the prompts (columns). A dark diagonal is wanted.",
    "roc": "Dotted: chance.",
    "precision_recall": "By chance the precision is the share of positives, in brackets.",
    "confusion": "A dark diagonal is wanted.",
    "few_shot": "Dotted: zero-shot; bands: the middle 95 % of draws.",
    "linear_probe": "Points are draws; chance is .5.",
    "fine_tune": "Points are draws; chance is .5.",
    "reliability": "On the dotted line probabilities come true as often as they say.",
    "abstention": "Numbers beside the points are promises.",
    "subgroups": "Points right of the dotted line are missed more often than everybody.",
    "severity": "Each point is a film.",
    "prompt_styles": "A model that understands the question answers alike in all styles.",
    "grounding": "Films under the map of a finding; boxes are the readers'.",
    "retrieval": "Films over their class and the three nearest sentences.",
}
#: What stands below films of any evaluator.
FILMS = (
    "Films that were answered most and least certainly, rightly and wrongly, chosen by that alone and not for looks. "
    "Beside a film is the same under the model's map: bright is where patches are most like what was asked. Without a "
    "map what answered has none."
)


def table_caption(name: str) -> str:
    """Returns the sentence above a table; empty for tables that are not known here."""
    return TABLES.get(name, "")


def figure_caption(name: str) -> str:
    """Returns the sentence below a figure."""
    return FILMS if name.endswith("_films") else FIGURES.get(name, name.replace("_", " "))
