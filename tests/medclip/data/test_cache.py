from __future__ import annotations

import os

import numpy as np
import pytest

from medclip.data.cache import PixelCache, file_key
from medclip.utils.io import write_atomically
from tests.fixtures.picture import picture


def test_images_come_back_in_the_order_asked_for(tmp_path) -> None:
    cache = PixelCache(tmp_path, 4)
    draw = lambda path: np.full((4, 4), int(path) % 256, dtype=np.uint8)  # noqa: E731
    assert cache.fill({f"k{i}": str(i) for i in range(300)}, draw=draw) == {}
    assert cache.get(["k299", "k0", "k7"])[:, 0, 0].tolist() == [299 % 256, 0, 7]
    assert PixelCache(tmp_path, 4).get(["k5"])[0, 0, 0] == 5


def test_bad_files_are_reasons_not_errors(tmp_path) -> None:
    picture(tmp_path / "good.png", seed=0)
    (tmp_path / "bad.png").write_text("no image")
    cache = PixelCache(tmp_path / "cache", 8)
    rejected = cache.fill(
        {"g": str(tmp_path / "good.png"), "b": str(tmp_path / "bad.png"), "m": str(tmp_path / "gone.png")}
    )
    assert set(rejected) == {"b", "m"}
    assert "not readable" in rejected["b"]
    assert cache.contains(["g", "b"]).tolist() == [True, False]


def test_only_what_is_missing_is_made(tmp_path) -> None:
    drawn = []

    def draw(path: str) -> np.ndarray:
        drawn.append(path)
        return np.zeros((4, 4), dtype=np.uint8)

    cache = PixelCache(tmp_path, 4)
    cache.fill({"a": "1"}, draw=draw)
    cache.fill({"a": "1", "b": "2"}, draw=draw)
    assert drawn == ["1", "2"]


def test_a_shard_without_its_index_is_as_if_it_were_not(tmp_path) -> None:
    cache = PixelCache(tmp_path, 4)
    cache.fill({"a": "1"}, draw=lambda path: np.ones((4, 4), dtype=np.uint8))
    next(cache.folder.glob("*.json")).unlink()
    assert not PixelCache(tmp_path, 4).contains(["a"])


def test_several_processes_give_the_same(tmp_path) -> None:
    paths = {}
    for i in range(520):
        picture(tmp_path / f"{i}.png", seed=i, size=(9, 8))
        paths[str(i)] = str(tmp_path / f"{i}.png")
    one, two = PixelCache(tmp_path / "one", 8), PixelCache(tmp_path / "two", 8)
    one.fill(paths)
    two.fill(paths, workers=2)
    assert (one.get(list(paths)) == two.get(list(paths))).all()


def test_a_changed_file_has_another_key(tmp_path) -> None:
    picture(tmp_path / "a.png", seed=0)
    before = file_key(str(tmp_path / "a.png"))
    assert before == file_key(str(tmp_path / "a.png"))
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert before != file_key(str(tmp_path / "a.png"))


def test_a_failed_write_leaves_what_was_there(tmp_path) -> None:
    target = tmp_path / "x"
    target.write_text("old")

    def fail(path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, fail)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_recipes_have_caches_of_their_own(tmp_path) -> None:
    assert PixelCache(tmp_path, 8).folder != PixelCache(tmp_path, 8, dicom="mimic-cxr-jpg").folder
    with pytest.raises(ValueError, match="voi, mimic-cxr-jpg"):
        PixelCache(tmp_path, 8, dicom="other")


def test_more_shards_than_files_may_be_open(tmp_path, monkeypatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr("medclip.data.cache.SHARD_IMAGES", 1)
    paths = {f"k{i}": str(i) for i in range(300)}
    cache = PixelCache(tmp_path, 4)
    cache.fill(paths, draw=lambda path: np.full((4, 4), int(path) % 256, dtype=np.uint8))
    usual, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (220, hard))  # fewer than shards, as 1,024 is with all of MIMIC-CXR
    try:
        images = cache.get([*paths, *reversed(paths)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, hard))
    assert images[:, 0, 0].tolist() == [i % 256 for i in (*range(300), *reversed(range(300)))]


def test_a_shard_that_was_cut_off_after_it_was_opened_is_an_error(tmp_path) -> None:
    cache = PixelCache(tmp_path, 4)
    cache.fill({"a": "1", "b": "2"}, draw=lambda path: np.ones((4, 4), dtype=np.uint8))
    shard = next(cache.folder.glob("*.npy"))
    os.truncate(shard, shard.stat().st_size - 4)
    with pytest.raises(OSError, match="cut off at image 1"):
        cache.get(["a", "b"])


def test_a_key_that_is_not_cached_is_named(tmp_path) -> None:
    cache = PixelCache(tmp_path, 4)
    with pytest.raises(KeyError, match="'b'"):
        cache.get(["b"])
    cache.fill({"a": "1"}, draw=lambda path: np.ones((4, 4), dtype=np.uint8))
    with pytest.raises(KeyError, match="'b'"):
        cache.get(["a", "b"])


def test_a_damaged_shard_is_found_by_its_checksum_and_made_again(tmp_path) -> None:
    draw = lambda path: np.full((4, 4), int(path), dtype=np.uint8)  # noqa: E731
    cache = PixelCache(tmp_path, 4)
    cache.fill({"a": "1"}, draw=draw)
    assert cache.forget_damaged() == 0
    with next(cache.folder.glob("*.npy")).open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"x")
    assert PixelCache(tmp_path, 4).contains(["a"])  # its length tells nothing
    assert cache.forget_damaged() == 1
    assert not cache.contains(["a"])
    cache.fill({"a": "1"}, draw=draw)
    assert (cache.get(["a"]) == 1).all()


def test_a_cache_of_an_earlier_version_is_read(tmp_path) -> None:
    cache = PixelCache(tmp_path, 4)
    cache.fill({"a": "1", "b": "2"}, draw=lambda path: np.full((4, 4), int(path), dtype=np.uint8))
    index = next(cache.folder.glob("*.json"))
    index.write_text('["a", "b"]')
    old = PixelCache(tmp_path, 4)
    assert old.get(["b"])[0, 0, 0] == 2
    assert old.forget_damaged() == 0
    os.truncate(index.with_suffix(".npy"), 150)
    assert not PixelCache(tmp_path, 4).contains(["a"])
