from __future__ import annotations

import multiprocessing
import shutil

import numpy as np
import pytest

from labelers.errors import UserError
from medclip.data.cache import PixelCache
from medclip.data.cache_formats import StreamedCache, open_cache

PATHS = {f"k{i}": str(i) for i in range(12)}


def draw(path: str) -> np.ndarray:
    return np.full((4, 4), int(path), dtype=np.uint8)


@pytest.fixture(autouse=True)
def several_shards(monkeypatch) -> None:
    monkeypatch.setattr("medclip.data.cache.SHARD_IMAGES", 5)


@pytest.fixture
def streamed(tmp_path) -> StreamedCache:
    pytest.importorskip("litdata")
    cache = open_cache(tmp_path, 4, kind="litdata")
    assert cache.fill(PATHS, draw=draw) == {}
    return cache


def values(cache: PixelCache, keys: list[str]) -> list[int]:
    return cache.get(keys)[:, 3, 3].tolist()


def test_the_default_is_npy_and_then_what_is_there(tmp_path, streamed) -> None:
    assert type(open_cache(tmp_path / "other", 4)) is PixelCache
    assert type(open_cache(tmp_path, 8)) is PixelCache
    assert type(open_cache(tmp_path, 4)) is StreamedCache
    assert type(open_cache(tmp_path, 4, kind="npy")) is PixelCache


def test_images_of_litdata_come_back_in_the_order_asked_for(tmp_path, streamed) -> None:
    assert values(streamed, ["k11", "k0", "k7"]) == [11, 0, 7]
    assert values(open_cache(tmp_path, 4), ["k5", "k5"]) == [5, 5]
    assert len(list(streamed.folder.glob("*.bin"))) == 3


def test_what_a_killed_preparation_left_is_completed_with_the_same_bytes(tmp_path, streamed) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in streamed.folder.iterdir() if path.name != ".index"}

    whole = files()
    shard = sorted(streamed.folder.glob("*.bin"))[1]
    (streamed.folder / "index.json").unlink()  # killed before the index
    shard.with_suffix(".json").unlink()  # and before the last shard was complete
    again = open_cache(tmp_path, 4)
    assert again.contains(list(PATHS)).sum() in (7, 10)
    again.fill(PATHS, draw=draw, workers=2)
    assert files() == whole
    assert values(again, list(PATHS)) == list(range(12))


def test_images_that_are_added_do_not_move_the_others(tmp_path, streamed) -> None:
    reader = open_cache(tmp_path, 4)
    streamed.fill(PATHS | {f"m{i}": str(100 + i) for i in range(7)}, draw=draw)
    assert values(reader, list(PATHS)) == list(range(12))
    assert values(streamed, ["m6", "k3"]) == [106, 3]


def _read(cache: PixelCache, results) -> None:
    results.put(values(cache, ["k9", "k1"]))


def test_two_readers_that_inherit_an_open_cache_do_not_disturb_each_other(streamed) -> None:
    assert values(streamed, ["k2"]) == [2]
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    readers = [context.Process(target=_read, args=(streamed, results)) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert [results.get() for _ in readers] == [[9, 1], [9, 1]]
    assert values(streamed, ["k4"]) == [4]
    for reader in readers:
        reader.join()


def test_files_may_be_elsewhere(tmp_path, streamed, monkeypatch) -> None:
    monkeypatch.setenv("LITDATA_CACHE_DIR", str(tmp_path / "local"))
    store = tmp_path / "store"
    shutil.copytree(streamed.folder, store)
    for path in streamed.folder.glob("*.bin"):
        path.unlink()
    cache = open_cache(tmp_path, 4, url=f"local:{store}")
    assert values(cache, ["k11", "k0", "k7"]) == [11, 0, 7]
    assert cache.fill(PATHS, draw=draw) == {}
    with pytest.raises(UserError, match="lacks images that are asked for"):
        cache.fill(PATHS | {"new": "1"}, draw=draw)


def test_an_unknown_format_and_a_missing_package_are_told(tmp_path, monkeypatch) -> None:
    with pytest.raises(UserError, match="choose from npy, litdata"):
        open_cache(tmp_path, 4, kind="tar")
    monkeypatch.setitem(__import__("sys").modules, "litdata", None)
    with pytest.raises(UserError, match=r"--cache-format litdata needs a package: pip install 'medclip-cxr\[stream\]'"):
        open_cache(tmp_path, 4, kind="litdata")
