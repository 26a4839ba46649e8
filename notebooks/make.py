"""Writes the notebooks from the cells below and runs them: python notebooks/make.py

A test checks that the notebooks hold these cells, and that they run. Write here, not in the notebooks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent

#: By notebook, cells in order; those that begin with "#" and a blank are text.
CELLS = {
    "zero_shot": [
        """# Zero-shot classification

Train a small model on synthetic X-rays and on sentences about *other* patients, then ask it about new X-rays in
words. With your own data only the first cell changes: `images="chexpert", texts="mimic-reports"`.""",
        """import medclip

run = medclip.train(medclip.TrainConfig(
    images="phantom", source_options={"phantom": {"studies": 1500, "size": 64}}, image_size=64, cache_size=64,
    projection_dim=128, steps=240, learning_rate=1e-3, evaluate_every=120,
    augmentation={"crop": 1.0, "rotate": 0.0, "shift": 0.0, "scale": [1.0, 1.0]},
    objective_options={"similarity": "claims", "target_temperature": 0.1}, output="runs/notebook", overwrite=True,
), bar=False)""",
        """# The model and its processor load as any Hugging Face model does. The classifier encodes its prompts once.""",
        """model, processor = medclip.load_model("runs/notebook")
classifier = medclip.ZeroShotClassifier(model, processor, "chexpert14")""",
        """# Six synthetic films of another population, which the model has not seen. With your own, give paths of JPEG,
# PNG or DICOM files.""",
        """import pandas as pd

from medclip.sources.phantom.population import draw_study, states_of
from medclip.sources.phantom.radiograph import draw_radiograph

films = [draw_radiograph(7, number, size=64) for number in range(6)]
asked = ["No Finding", "Cardiomegaly", "Edema", "Pleural Effusion", "Support Devices"]
pd.DataFrame(classifier.scores(classifier.embed(films)), columns=classifier.observations)[asked].round(2)""",
        """# How much nearer each film is to "it is there" than to "it is not": a ranking within a column. For chances,
# `medclip-evaluate --calibrate` fits them on validation images, and `classifier(films)` gives them. The truth:""",
        """pd.DataFrame([states_of(draw_study(7, number)) for number in range(6)])[asked]""",
        """# Ask about anything you can word, and see where in the film the words are.""",
        """from medclip.inference.prompts import Prompts

mine = {"Fluid on the left": Prompts(("There is a left pleural effusion.",), ("No left pleural effusion.",)),
        "Pacemaker": Prompts(("A pacemaker is seen.",), ("No pacemaker.",))}
own = medclip.ZeroShotClassifier(model, processor, mine)
pd.DataFrame(own.scores(own.embed(films)), columns=own.observations).round(2)""",
        """%matplotlib inline
import torch

from medclip.evaluation.figures import pictures
from medclip.inference.heatmap import heatmaps, overlay, to_square

with torch.inference_mode():
    maps = heatmaps(model.encode_images(processor.images(films), local=True), own.positive.centres())
pictures([overlay(film, to_square(found[0], 64)) for film, found in zip(films, maps)], ["Fluid on the left"] * 6, columns=6)""",
    ],
    "labels": [
        """# Labelling reports

The labeler reads sentences and says of 14 observations which are there (1), not there (0), uncertain (-1) or not
mentioned. No Java, no download; thousands of reports a second on one core.""",
        """from labelers import CHEXPERT14, load_labeler

labeler = load_labeler("rules")
report = "The heart is enlarged. No pleural effusion. Possible consolidation in the right base."
dict(zip(CHEXPERT14, labeler([report])[0]))""",
        """# Why? Every state has its evidence.""",
        """import pandas as pd

from labelers.explain import explain_rows

pd.DataFrame(explain_rows(report, labeler.explain(report)))""",
        """# A table of reports, here synthetic ones. On the command line:
# `medclip-label reports.csv --text-column findings,impression --output labels.csv`.""",
        """from medclip.utils.plugins import load_plugin

reports = load_plugin("sources", "phantom")(studies=2000).texts()
states = pd.DataFrame(labeler(reports["text"].tolist()), columns=CHEXPERT14)
pd.DataFrame({"positive": (states == 1).sum(), "negative": (states == 0).sum(), "uncertain": (states == -1).sum(),
              "unmentioned": states.isna().sum()})""",
        """# Training never sees states but label vectors: what uncertain and negative mean is a choice, and is saved with
# the run.""",
        """from labelers import LabelPolicy

for policy in (LabelPolicy(uncertain="soft", negative="opposite"), LabelPolicy(uncertain="zero", negative="absent")):
    print(policy, policy(labeler([report]))[0])""",
    ],
    "curve": [
        """# The data-efficiency curve

The same training at several sizes, by several objectives, several times. Small here, so that it takes a minute;
`benchmarks/claim-labels.yaml` is the real one, on 500 to 20,000 images and reports.""",
        """from medclip.runs.curve import run_curve
from medclip.runs.curve_plan import plan_curve
from medclip.runs.settings import CurveConfig

small = {"studies": 500, "size": 48}
arms = {
    "semantic-matching, no pairs": {"source_options": {"phantom": small}},
    "clip, pairs": {"objective": "clip", "source_options": {"phantom": {**small, "paired": True}}},
}
result = run_curve(plan_curve(CurveConfig(
    sizes="100,400", seeds=2, arms=arms, recipe="recipe.yaml", output="runs/notebook-curve",
)))""",
        """# Every point is a row; a point that is done is not done again, so more seeds or sizes cost only what is new.""",
        """from medclip.evaluation.data_efficiency import draw, summary

summary(result.table)""",
        """%matplotlib inline
draw(result.table, ["auroc/mean", "accuracy"])""",
        """# What the points say in words. Of an arm that is not shown to be better than guessing, it says only that: so
# few images and steps teach little, and a factor of data between two arms at chance would mean nothing.""",
        """print(*result.lines, sep="\\n")""",
    ],
}
_RECIPE = '''from pathlib import Path

Path("recipe.yaml").write_text("""
images: phantom
texts: phantom
image_size: 48
cache_size: 48
projection_dim: 64
batch_images: 32
batch_texts: 32
steps: 40
learning_rate: 1.0e-3
evaluate_every: 20
augmentation: {crop: 1.0, rotate: 0.0, shift: 0.0, scale: [1.0, 1.0]}
""");'''
CELLS["curve"].insert(1, _RECIPE)


def is_text(cell: str) -> bool:
    return cell.startswith("# ")


def notebook(name: str) -> nbformat.NotebookNode:
    """Returns a notebook without outputs."""
    made = nbformat.v4.new_notebook()
    for i, cell in enumerate(CELLS[name]):
        text = cell if i == 0 else cell.replace("# ", "").replace("\n", " ")
        made.cells.append(nbformat.v4.new_markdown_cell(text) if is_text(cell) else nbformat.v4.new_code_cell(cell))
        made.cells[-1]["id"] = f"{name}-{i}"
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


def execute(made: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Runs a notebook in `folder`; raises where a cell does."""
    resources: dict[str, Any] = {"metadata": {"path": str(folder)}}
    return NotebookClient(made, timeout=600, kernel_name="python3", resources=resources).execute()


def _is_noise(output: dict[str, Any]) -> bool:
    """Tells whether an output is a log or a bar of progress."""
    is_picture = "image/png" in output.get("data", {})
    return output.get("name") == "stderr" or (output["output_type"] == "display_data" and not is_picture)


def main() -> None:
    import tempfile

    for name in sys.argv[1:] or CELLS:
        with tempfile.TemporaryDirectory() as folder:
            made = execute(notebook(name), Path(folder))
        for cell in made.cells:
            cell.metadata = {}
            if cell["cell_type"] == "code":
                cell["outputs"] = [out for out in cell["outputs"] if not _is_noise(out)]
        made.metadata["language_info"] = {"name": "python"}
        nbformat.write(made, HERE / f"{name}.ipynb")


if __name__ == "__main__":
    main()
