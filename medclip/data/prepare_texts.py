"""Text tables to labelled sentences and whole reports."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from labelers.errors import UserError
from labelers.languages import refuse_foreign
from medclip.data.labelling import Labelling
from medclip.data.preparation import Preparation
from medclip.data.prepared import Prepared, digest, manifest_of, save, with_splits
from medclip.data.source import Source
from medclip.data.splits import Declared
from medclip.data.tables import label_matrix, observations_of, strongest
from medclip.utils.parallel import run_jobs

logger = logging.getLogger(__name__)

_CHUNK = 2000
_IDS = ["study_id", "patient_id", "split"]
_TABLES = ("sentences", "occurrences", "reports")
_FORMAT = "2"  # of the tables, part of their name


def prepare_texts(source: Source, how: Preparation, declared: Mapping[str, Declared] | None = None) -> Prepared:
    """Cuts the texts of `source` into sentences, labels each on its own, and each report as a whole.

    Texts whose table brings labels keep them: such a text is one sentence, however long, and is not read again.

    Args:
        source: A source that has texts.
        how: Where and how they are prepared.
        declared: What all sources of a run declare about splits, from `declared_of`; by default this table alone.

    Raises:
        UserError: The source has no texts, none of them holds a sentence, or no sentence gets a label.
    """
    labelling = how.labelling
    texts = source.texts()
    if texts is None or texts.empty:
        raise UserError(f"Source {source.name!r} has no texts here. It can serve as --images only.")
    texts, origins = with_splits(texts, source, how.split_seed, declared)
    rows = pd.util.hash_pandas_object(texts, index=False).to_numpy()
    content = digest(rows, labelling.digest(), _FORMAT)
    target = how.folder / f"{source.name}-sentences-{content[:12]}"
    if (target / "manifest.json").is_file():
        manifest = json.loads((target / "manifest.json").read_text())
        saved = {name: pd.read_parquet(target / f"{name}.parquet") for name in ("sentences", "occurrences")}
        return Prepared(source.name, manifest=manifest, folder=target, **saved)
    units, reports = _read(texts, source.name, how)
    sentences, occurrences = _grouped(units, labelling)
    _check_labels(sentences, source.name, labelling)
    silent = len(texts) - len(reports)
    settings = {"split_seed": how.split_seed, "chosen": origins, "labeler": labelling.load().name, "texts": len(texts)}
    manifest = manifest_of(source, "sentences", sentences, **settings, without_text=silent) | {
        "content": content, "occurrences": len(occurrences), "names_a_side": _share_naming_side(sentences["text"]),
    }  # fmt: skip
    save(target, manifest, sentences=sentences, occurrences=occurrences, reports=reports)
    if silent:
        logger.warning(
            "%s: %d of %d texts have no findings or impression and are not used", source.name, silent, len(texts)
        )
    return Prepared(source.name, sentences=sentences, occurrences=occurrences, manifest=manifest, folder=target)


def _read(texts: pd.DataFrame, name: str, how: Preparation) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns a row for each sentence of each text, and a row for each report.

    Both have ids, split and text, and states where they are known: of texts with labels of their own in both, of
    others in reports.
    """
    given = observations_of(texts)
    labelled = ~np.isnan(label_matrix(texts, given)).all(axis=1) if given else np.zeros(len(texts), dtype=bool)
    own = texts[labelled & texts["text"].str.strip().astype(bool).to_numpy()]
    own = own[[*_IDS, "text", *given]].assign(section="", position=0)
    own["text"] = [" ".join(text.split()) for text in own["text"]]
    refuse_foreign(texts.loc[~labelled, "text"].tolist(), how.labelling.load(), origin=name)
    units, reports = _cut_all(texts[~labelled], name, how)
    units, reports = pd.concat([units, own], ignore_index=True), pd.concat([reports, own], ignore_index=True)
    if units.empty:
        raise UserError(f"{name}: none of its {len(texts)} texts holds a sentence that can be labelled.")
    if labelled.any():
        logger.info("%s: %d of %d texts keep the labels of their table", name, len(own), len(texts))
    return units, reports.drop(columns=["section", "position"], errors="ignore")


def _cut_all(texts: pd.DataFrame, name: str, how: Preparation) -> tuple[pd.DataFrame, pd.DataFrame]:
    everything, observations = texts["text"].tolist(), list(how.labelling.load().observations)
    chunks = [(everything[i : i + _CHUNK],) for i in range(0, len(everything), _CHUNK)]
    rows: list[tuple[int, str, int, str]] = []
    states: list[np.ndarray] = [np.empty((0, len(observations)), dtype=np.float32)]
    cut = partial(_cut, labelling=how.labelling)
    for i, (found, of_reports) in enumerate(run_jobs(cut, chunks, workers=how.workers, engine=how.engine)):
        rows += [(i * _CHUNK + row, section, position, text) for row, section, position, text in found]
        states.append(of_reports)
        if how.progress is not None:
            how.progress(f"{name}: reading reports", min((i + 1) * _CHUNK, len(everything)), len(everything))
    table = pd.DataFrame(rows, columns=["row", "section", "position", "text"])
    whole = table.groupby("row", sort=True)["text"].agg(" ".join)
    ids = texts[_IDS].reset_index(drop=True)
    reports = ids.iloc[whole.index].reset_index(drop=True).assign(text=whole.to_numpy())
    numbers = pd.DataFrame(np.concatenate(states)[whole.index], columns=observations)
    units = pd.concat([ids.iloc[table["row"]].reset_index(drop=True), table.drop(columns="row")], axis=1)
    return units, pd.concat([reports, numbers], axis=1)


def _cut(texts: Sequence[str], *, labelling: Labelling) -> tuple[list[tuple[int, str, int, str]], np.ndarray]:
    """Returns (text, section, position, sentence) of every sentence, and the states (N, O) of the texts."""
    cutter = labelling.cutter()
    rows = [
        (row, section, position, " ".join(text[start:end].split()))
        for row, text in enumerate(texts)
        for position, (section, (start, end)) in enumerate(cutter.sentences(text))
    ]
    return rows, labelling.load()(texts)


def _grouped(units: pd.DataFrame, labelling: Labelling) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the different sentences of each split with their states, and who says which of them."""
    grouped = units.groupby(["split", "text"], sort=True)
    sentences = grouped.size().rename("count").reset_index()
    number = grouped.ngroup().to_numpy()
    given = observations_of(units.drop(columns=["section", "position"]))
    observations = list(dict.fromkeys([*labelling.load().observations, *given]))
    states = np.full((len(sentences), len(observations)), np.nan, dtype=np.float32)
    if given:
        states = strongest(label_matrix(units, observations), number, len(sentences))
    silent = np.flatnonzero(np.isnan(states).all(axis=1))
    read = labelling.of_sentences(sentences["text"].iloc[silent].tolist())
    states[silent, : read.shape[1]] = read
    sentences = pd.concat([sentences, pd.DataFrame(states, columns=observations)], axis=1)
    return sentences, units[[*_IDS, "section", "position"]].assign(sentence=number)


def _check_labels(sentences: pd.DataFrame, name: str, labelling: Labelling) -> None:
    """Refuses texts of which nothing is understood.

    Raises:
        UserError: No sentence has a label.
    """
    if np.isnan(label_matrix(sentences, observations_of(sentences))).all():
        raise UserError(
            f"{name}: none of its {len(sentences)} different sentences gets a label from the labeler "
            f"{labelling.load().name}. Are they in another language or about other things? Choose another "
            "--vocabulary (chexpert14-zh for Chinese; a folder of your own), another --labeler, or a table with label "
            "columns."
        )


def _share_naming_side(sentences: pd.Series) -> float:
    return float(sentences.str.contains(r"\b(?:left|right)\b", case=False).mean())
