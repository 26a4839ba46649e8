"""What commands say about files and devices that are not as expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medclip.cli.label import run as label
from medclip.data.image_files import find_images
from medclip.inference.load import find_device
from medclip.sources import find_sources
from tests.fixtures.dicom import dicom


def test_a_path_is_no_source_and_the_message_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("path\na.png\n")
    for path, source in ((tmp_path / "images.csv", "csv"), (tmp_path, "folder")):
        with pytest.raises(ValueError, match=f"is a path and not the name of a source. Write {source}="):
            find_sources(str(path), data_root=None, options={})


def test_folders_of_dicom_without_suffix_are_classified(tmp_path: Path) -> None:
    dicom(tmp_path / "IM000001", np.arange(1280).reshape(40, 32))
    (tmp_path / "notes.txt").write_text("no image")
    assert list(find_images(tmp_path)) == [tmp_path / "IM000001"]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "CPU:"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(ValueError, match=f"--device {device}: not available here"):
        find_device(device)


def test_gold_with_an_id_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("id,report\na,No effusion.\nb,Edema.\n")
    (tmp_path / "g.csv").write_text("id,Pleural Effusion,Edema\na,0,\nb,,1\na,1,\n")
    with pytest.raises(ValueError, match=r"1 ids \(id\) occur twice, the first again in data row 3"):
        label([str(tmp_path / "r.csv"), "--score", str(tmp_path / "g.csv")])
