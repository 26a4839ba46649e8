from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from examples import classify_a_folder, label_reports, train_on_your_table
from medclip.utils.plugins import load_plugin

pytestmark = pytest.mark.usefixtures("tiny_towers")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of a hospital of its own: films, reports and patients."""
    folder = tmp_path_factory.mktemp("hospital")
    phantom = load_plugin("sources", "phantom")(studies=400, size=32, paired=True)
    images, texts = phantom.images(), phantom.texts().set_index("study_id")["text"]
    (folder / "films").mkdir()
    for name, path in zip(images["image_id"], images["path"], strict=True):
        Image.fromarray(phantom.draw(path)).save(folder / "films" / f"{name}.png")
    table = images[["study_id", "patient_id", "split"]].assign(
        path=[f"films/{name}.png" for name in images["image_id"]], text=texts.reindex(images["study_id"]).to_numpy()
    )
    table.to_csv(folder / "hospital.csv", index=False)
    return folder


def test_reports_are_labelled(hospital: Path, capsys) -> None:
    labels = label_reports.main(str(hospital / "hospital.csv"), "text", str(hospital / "labels.csv"))
    assert labels.equals(pd.read_csv(hospital / "labels.csv").astype("float32"))
    assert (labels == 1).any(axis=None)


def test_a_table_is_trained_on_and_a_folder_classified(hospital: Path) -> None:
    value = train_on_your_table.main(str(hospital / "hospital.csv"), str(hospital / "run"), steps=4, image_size=32)
    assert 0 < value < 1
    answers = classify_a_folder.main(str(hospital / "run"), str(hospital / "films"), str(hospital / "answers.csv"))
    assert answers.shape == (400, 2)
    assert ((answers >= 0) & (answers <= 1)).all(axis=None)
