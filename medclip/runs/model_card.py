"""The model card: what a model was trained on and how, written beside its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medclip.runs.settings import TrainConfig

_CARD = """\
---
library_name: medclip
license: other
license_name: see-below
tags: [medclip, radiology, chest-x-ray, zero-shot-image-classification]
---

# {name}

A MedCLIP model: chest X-rays and report sentences in one space of {dim} dimensions. It ranks images by how well texts
describe them, also texts it was not trained on.

**Research only. Not a medical device; no output of this model is a diagnosis.**

## Use

```python
import medclip

model, processor = medclip.load_model("THIS FOLDER")
classifier = medclip.ZeroShotClassifier(model, processor, "{prompts}")
classifier(["film.dcm"])
```

## Training data

{sources}

Observations: {observations}. Labels of sentences: {labeler}. Uncertain states count as `{uncertain}`, negative ones as
`{negative}`, texts that only deny are taken `{denials}`.

## Training

Objective `{objective}` {options}, {steps} steps of {images} images and {texts} texts at {size} pixels; image tower
`{vision}`, text tower `{text}`. All settings are in `config.yaml` of the run.

## Validation

{validation}

On validation patients, with prompts `{prompts}`. What reviewers should see is the evaluation of the test split:
`medclip-evaluate`.

## Limits

- Weak labels have errors; what the labeler misreads, the model learns.
- Scores rank images; they are chances only after calibration on data like yours.
- Hospitals, devices, views and patients other than those of the training data are not covered by the numbers above.
- The licences and agreements of the training data may bind the model: read them before you share it.
"""


def model_card(
    config: TrainConfig,
    *,
    metrics: Mapping[str, Any],
    manifests: Sequence[Mapping[str, Any]],
    observations: Sequence[str],
) -> str:
    """Returns the model card of a finished run, as Markdown for a Hugging Face model folder.

    Args:
        config: Settings of the run.
        metrics: Contents of metrics.json.
        manifests: How each source was prepared.
        observations: What was learned.
    """
    labelers = sorted({str(one["labeler"]) for one in manifests if "labeler" in one})
    last = {name: value for name, value in metrics["last"].items() if name.startswith("valid/")}
    rows = "\n".join(f"| {name.removeprefix('valid/')} | {value:.3f} |" for name, value in last.items())
    best = f"Kept: step {metrics['best']['step']}. Last validation:\n\n"
    return _CARD.format(
        name=config.output.rstrip("/").rpartition("/")[2], dim=config.projection_dim, prompts=config.prompts,
        sources="\n".join(_source(one) for one in manifests), observations=", ".join(observations),
        labeler=", ".join(labelers), uncertain=config.uncertain, negative=config.negative, denials=config.denials,
        objective=config.objective, options=config.objective_options or "", steps=metrics["steps"],
        images=config.batch_images, texts=config.batch_texts, size=config.image_size, vision=config.vision,
        text=config.text, validation=f"{best}| metric | value |\n| --- | --- |\n{rows}" if rows else "None.",
    )  # fmt: skip


def _source(manifest: Mapping[str, Any]) -> str:
    train = manifest["splits"].get("train", 0)
    return f"- {manifest['source']}: {train:,} {manifest['kind']} of the train split"
