"""medclip-label: weak labels for reports."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from medclip.cli.console import command, print_table, progress_bar
from medclip.config import LabelConfig, read_config
from medclip.plugins import suggest

if TYPE_CHECKING:
    import pandas as pd

    from labelers.rules import RuleLabeler

logger = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  medclip-label reports.csv --id-column study_id --text-column findings,impression --output labels.csv
  medclip-label folder-of-txt/ --output labels.parquet --sentences sentences.csv --workers 8
  echo "No pleural effusion. The heart is enlarged." | medclip-label -

Output: the id and one column per observation: 1 positive, 0 negative, -1 uncertain, blank unmentioned.
Report text goes to the sentence table only, never to the screen or a log."""

_CHUNK = 1000
_ID_COLUMNS = ("study_id", "id", "report_id")
_TEXT_COLUMNS = ("text", "report", "findings", "impression")

#: A report: its id and its text.
Report = tuple[str, str]


def run(argv: list[str]) -> int:
    """Labels the input and writes the labels."""
    config = read_config(
        LabelConfig, argv, prog="medclip-label", description="Label radiology reports.", examples=_EXAMPLES
    )
    import pandas as pd

    labeler = _labeler(config.vocabulary)
    reports, total = _read(config)
    chunks = iter(lambda: list(islice(reports, _CHUNK)), [])
    jobs = ((chunk, config.vocabulary, bool(config.sentences)) for chunk in chunks)
    labels: list[pd.DataFrame] = []
    sentences: list[pd.DataFrame] = []
    with progress_bar() as progress:
        for table, of_sentences in _map(jobs, config.workers):
            labels.append(table)
            sentences.append(of_sentences)
            progress("labelling", sum(map(len, labels)), total)
    if not labels:
        raise ValueError(f"{config.input} holds no reports.")
    result = pd.concat(labels, ignore_index=True)
    _write(result, config.output)
    if config.sentences:
        _write(pd.concat(sentences, ignore_index=True), config.sentences)
    if config.output != "-":
        _summarise(result, labeler.observations, config.output)
    return 0


@lru_cache(maxsize=2)
def _labeler(vocabulary: str) -> RuleLabeler:
    from labelers.rules import RuleLabeler

    return RuleLabeler(vocabulary)


def _map(jobs: Iterator[tuple[list[Report], str, bool]], workers: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    if workers <= 1:
        yield from (_label(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        while block := list(islice(jobs, 4 * workers)):
            yield from pool.map(_label, *zip(*block, strict=True))


def _label(reports: list[Report], vocabulary: str, with_sentences: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the label table of `reports` and, if wanted, the table of their sentences."""
    import pandas as pd

    labeler = _labeler(vocabulary)
    ids, texts = [name for name, _ in reports], [text for _, text in reports]
    table = pd.DataFrame(labeler(texts), columns=list(labeler.observations)).astype("Int8")
    table.insert(0, "id", ids)
    if not with_sentences:
        return table, pd.DataFrame()
    rows = [
        (name, section, position, text[start:end])
        for name, text in reports
        for position, (section, (start, end)) in enumerate(labeler.sentences(text))
    ]
    sentences = pd.DataFrame(rows, columns=["id", "section", "position", "text"])
    states = pd.DataFrame(
        labeler.label_sentences(sentences["text"].tolist()), columns=list(labeler.observations)
    ).astype("Int8")
    return table, pd.concat([sentences, states], axis=1)


def _read(config: LabelConfig) -> tuple[Iterator[Report], int]:
    """Returns the reports of the input and how many there are; 0 where that is not known.

    Raises:
        FileNotFoundError: the input is not there.
        ValueError: it is of another kind, or lacks a column.
    """
    path = Path(config.input)
    if config.input == "-":
        return ((f"line{i}", line) for i, line in enumerate(sys.stdin, start=1) if line.strip()), 0
    if path.is_dir():
        files = sorted(path.rglob("*.txt"))
        if not files:
            raise FileNotFoundError(f"{path} holds no .txt files.")
        return ((file.stem, file.read_text(encoding="utf-8", errors="replace")) for file in files), len(files)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. Name a .csv or .parquet file, a folder of .txt, or - for stdin.")
    return _read_table(path, config)


def _read_table(path: Path, config: LabelConfig) -> tuple[Iterator[Report], int]:
    import pandas as pd

    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path} is neither .csv nor .parquet, nor a folder of .txt. Convert it, or pipe it to stdin.")
    table = pd.read_csv(path, dtype=str, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(path)
    names = [str(name) for name in table.columns]
    columns = [name.strip() for name in config.text_column.split(",") if name.strip()]
    columns = columns or [name for name in _TEXT_COLUMNS if name in names]
    id_column = config.id_column or next((name for name in _ID_COLUMNS if name in names), "")
    for wanted in (*columns, *([id_column] if id_column else [])):
        if wanted not in names:
            raise ValueError(
                f"{path} has no column {wanted!r}.{suggest(wanted, names)} Found: {', '.join(names[:30])}."
            )
    if not columns:
        raise ValueError(
            f"{path}: which column holds the text? Name it with --text-column. Found: {', '.join(names[:30])}."
        )
    ids = table[id_column].astype(str) if id_column else [f"row{i}" for i in range(len(table))]
    texts = table[columns].fillna("").astype(str)
    joined = texts.agg("\n\n".join, axis=1) if len(columns) > 1 else texts[columns[0]]
    return iter(zip(ids, joined, strict=True)), len(table)


def _write(table: pd.DataFrame, output: str) -> None:
    from medclip.cache import write_atomically

    if output == "-":
        table.to_csv(sys.stdout, index=False)
    elif output.endswith(".parquet"):
        write_atomically(Path(output), lambda part: table.to_parquet(part, index=False))
    else:
        write_atomically(Path(output), lambda part: table.to_csv(part, index=False))


def _summarise(table: pd.DataFrame, observations: Sequence[str], output: str) -> None:
    rows = []
    for name in observations:
        counts = table[name].value_counts()
        rows.append(
            [name, *(str(int(counts.get(state, 0))) for state in (1, 0, -1)), str(int(table[name].isna().sum()))]
        )
    print_table(
        f"{len(table)} reports, {output}", ["observation", "positive", "negative", "uncertain", "unmentioned"], rows
    )


main = command(run)
