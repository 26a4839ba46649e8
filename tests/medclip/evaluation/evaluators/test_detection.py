from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medclip.evaluation.evaluators import detection
from medclip.evaluation.evaluators.detection import Detection
from medclip.inference.classifier import ZeroShotClassifier


def test_detection_of_maps_that_know_the_boxes(data, model, monkeypatch) -> None:
    evaluator = Detection(data, resamples=50)
    rows, names = data.rows().drop_duplicates("image_id"), sorted(set(data.boxes["observation"]))
    maps = np.zeros((len(rows), len(names), 56, 56), dtype=np.float32)
    chances = np.zeros((len(rows), len(names)))
    for i, image in enumerate(rows["image_id"]):
        for box in data.boxes[data.boxes["image_id"] == image].itertuples():
            top, left = round(box.top * 56), round(box.left * 56)
            high, wide = max(1, round(box.height * 56)), max(1, round(box.width * 56))
            maps[i, names.index(box.observation), top : top + high, left : left + wide] = 1
            chances[i, names.index(box.observation)] = 1

    def known(model, pixels, positive, negative, *, kind):
        start = 0
        for batch in pixels:
            yield chances[start : start + len(batch)], maps[start : start + len(batch)]
            start += len(batch)

    with monkeypatch.context() as patch:
        patch.setattr(detection, "text_maps", known)
        patch.setattr(ZeroShotClassifier, "probabilities", lambda self, embeds: embeds)
        knowing = evaluator(*model).numbers
    assert knowing["detection/ap25"] > 0.9
    assert knowing["detection/ap50"] > 0.75  # boxes that overlap are one region of a map
    assert knowing["detection/ap25/by_chance"] < knowing["detection/ap25/usual_place"] < knowing["detection/ap25"]
    assert knowing["detection/ap25/low"] <= knowing["detection/ap25"] <= knowing["detection/ap25/high"]
    untrained = Detection(data, resamples=0)(*model)
    assert untrained.numbers["detection/ap50"] < 0.3
    assert untrained.tables["detection"]["images"].max() <= len(rows)


def test_positive_images_without_a_box_do_not_count(data, model) -> None:
    boxes = data.boxes[data.boxes["observation"] == "Cardiomegaly"]
    reported = boxes[boxes["image_id"].isin(data.rows()["image_id"])]
    fewer = dataclasses.replace(data, boxes=boxes.drop(index=reported.index[:2]))
    all_boxed, some = (Detection(one, resamples=0)(*model).tables["detection"] for one in (
        dataclasses.replace(data, boxes=boxes), fewer))  # fmt: skip
    assert some["images"][0] == all_boxed["images"][0] - 2


def test_boxes_of_phrases_alone_are_no_detection(data) -> None:
    boxes = data.boxes.assign(phrase="hazy", observation="")
    with pytest.raises(ValueError, match=r"these have phrases only\. Use the evaluator grounding"):
        Detection(dataclasses.replace(data, boxes=boxes))
    with pytest.raises(ValueError, match="detection needs boxes"):
        Detection(dataclasses.replace(data, boxes=None))
