"""Which columns of a user's table are taken for what, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelers.errors import UserError
from medclip.cli.config import read_config
from medclip.runs.settings import EvaluateConfig, PrepareConfig, TrainConfig
from medclip.sources import find_sources
from medclip.sources.csv import Csv


def table(folder: Path, *lines: str, name: str = "hospital.csv") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


ROWS = (
    "1.png,MR1,No focal consolidation is seen in either lung.",
    "2.dcm,MR2,The heart is enlarged, and there is fluid.",
)


def test_columns_of_any_name_are_told_by_what_they_hold(tmp_path: Path, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Csv, "_say", lambda self, message, **_: said.append(message))
    path = table(tmp_path, "Bilddatei;Nr;Befundtext", *(row.replace(",", ";", 2) for row in ROWS))
    source = Csv(path)
    assert [Path(one).name for one in source.images()["path"]] == ["1.png", "2.dcm"]
    assert source.texts()["text"].tolist() == [row.split(",", 2)[2] for row in ROWS]
    assert "taken from the table: Bilddatei as path, Befundtext as text; not used: Nr." in "\n".join(said)
    assert "--columns path=Bilddatei,text=Befundtext" in "\n".join(said)
    assert "The heart" not in "\n".join(said)


def test_sections_that_make_the_text_are_named_as_taken(tmp_path: Path, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Csv, "_say", lambda self, message, **_: said.append(message))
    path = table(tmp_path, "FilePath,Findings,Impression,Note", "1.png,Large effusion.,Effusion.,x")
    text = "FINDINGS: Large effusion.\n\nIMPRESSION: Effusion."
    assert Csv(path).texts()["text"].tolist() == [text]
    assert "FilePath as path, Findings+Impression as text; not used: Note." in said[0]
    assert "--columns path=FilePath,text=Findings+Impression" in said[0]
    columns = {"path": "FilePath", "text": "Findings+Impression"}
    assert Csv(path, columns=columns).texts()["text"].tolist() == [text]


@pytest.mark.parametrize("columns", [{"path": "Dtei"}, {"path": "Datei", "text": "Nix"}])
def test_a_column_that_is_not_there_is_a_mistake_of_the_user(columns: dict[str, str], tmp_path: Path) -> None:
    path = table(tmp_path, "Datei,Befund", "1.png,No effusion.")
    with pytest.raises(UserError, match=r"has no column .* Found: Datei, Befund\."):
        Csv(path, columns=columns).splits()


def test_a_choice_is_refused_with_the_option_that_settles_it(tmp_path: Path) -> None:
    path = table(tmp_path, "Film,Thumb Nail,MRN", "1.png,t/1.png,a", "2.png,t/2.png,b")
    with pytest.raises(ValueError, match=r"'Film' and 'Thumb Nail' can each be path.*--columns path=Film\.$"):
        Csv(path).images()
    assert len(Csv(path, columns={"path": "Film"}).images()) == 2
    history = ("Cough and fever for more than three weeks now", "Status after a fall from the stairs at home")
    path = table(tmp_path, "path,History,Befund", f"1.png,{history[0]},{history[1]}")
    with pytest.raises(
        ValueError, match=r"can each be text.*--columns text=History, or --columns text=History\+Befund"
    ):
        Csv(path).texts()


def test_remarks_of_a_labelled_table_are_no_reports(tmp_path: Path) -> None:
    path = table(tmp_path, "path,Edema,Remark", "1.png,1,seen by two readers on two different days")
    with pytest.raises(ValueError, match=r"no column 'text'.*--columns text=COLUMN|no column 'path'") as raised:
        find_sources(f"csv={table(tmp_path, 'Remark,Edema', 'a b c d e f g,1', name='x.csv')}", data_root=None,
                     options={})[0].texts()  # fmt: skip
    assert "Remark" in str(raised.value)
    assert Csv(path).texts() is None


def test_files_settle_which_of_two_usual_names_is_the_path(tmp_path: Path) -> None:
    path = table(tmp_path, "Image,File,Patient", "PA view,1.png,a", "AP view,2.png,b")
    assert [Path(one).name for one in Csv(path).images()["path"]] == ["1.png", "2.png"]


def test_two_columns_of_ids_may_be_one_and_may_not(tmp_path: Path) -> None:
    one = table(tmp_path, "path,MRN,Subject", "1.png,a,7", "2.png,a,7", "3.png,b,9")
    assert Csv(one).images()["patient_id"].tolist() == ["a", "a", "b"] or Csv(one).images()["patient_id"].nunique() == 2
    other = table(tmp_path, "path,MRN,Subject", "1.png,a,7", "2.png,a,8", "3.png,b,9")
    with pytest.raises(ValueError, match=r"can each be patient_id.*--columns patient_id="):
        Csv(other).images()


def test_the_option_names_columns_and_joins_texts(tmp_path: Path) -> None:
    words = ["--images", "csv=x.csv", "--columns", "path=Image File,text=Findings+Impression"]
    config = read_config(TrainConfig, words, prog="medclip-train", description="")
    assert config.source_options == {"csv": {"columns": {"path": "Image File", "text": "Findings+Impression"}}}
    path = table(tmp_path, "Image File,Findings,Impression", "1.png,No effusion.,Normal.", "2.png,Edema.,")
    texts = Csv(path, **config.source_options["csv"]).texts()["text"].tolist()
    assert texts == ["FINDINGS: No effusion.\n\nIMPRESSION: Normal.", "FINDINGS: Edema."]
    saved = tmp_path / "config.yaml"
    config.save(saved)
    assert TrainConfig.load(saved) == config


def test_columns_go_over_those_of_the_run() -> None:
    trained = {"source_options": {"csv": {"columns": {"path": "A", "text": "B"}, "labels_in": "C"}, "phantom": {}}}
    assert EvaluateConfig().options_over(trained) == trained["source_options"]
    over = EvaluateConfig(columns={"path": "X"}).options_over(trained)
    assert over == {"csv": {"columns": {"path": "X", "text": "B"}, "labels_in": "C"}, "phantom": {}}
    mine = {"csv": {"labels_in": "D"}}
    assert EvaluateConfig(source_options=mine).options_over(trained) == mine


def test_two_tables_have_columns_of_their_own(tmp_path: Path) -> None:
    films = table(tmp_path, "Film,Thumb", "1.png,t1.png", name="films.csv")
    reports = table(tmp_path, "A,B", "One two three four five six.,A b c d e f g", name="reports.csv")
    options = {"csv": {"columns": {"path": "Film"}}, f"csv={reports}": {"columns": {"text": "B"}}}
    found = find_sources(f"csv={films},csv={reports}", data_root=None, options=options)
    assert len(found[0].images()) == 1
    assert found[1].texts()["text"].tolist() == ["A b c d e f g"]


def test_a_mapping_that_is_none_is_told(capsys) -> None:
    with pytest.raises(SystemExit):
        read_config(PrepareConfig, ["--columns", "Image File"], prog="medclip-prepare", description="")
    assert "--columns Image File: expected A=x,B=y" in capsys.readouterr().err
