# %% [markdown]
# # Your own data: from a folder and a table to a page with films
#
# **Afterwards you can** take what a hospital's systems export, a folder of films and a table, tell MedCLIP which column is
# what, find what cannot be used, train, and hand over a page with films and answers.
#
# **Time:** three minutes on a quiet laptop. The hospital is made up in the first cell; with a real export begin at part 2.

# %% [markdown]
# ## 1. An export
#
# 900 examinations. As in life, some have a film and no report, some a report and no film, and one file is damaged.

# %%
from pathlib import Path

import pandas as pd
from PIL import Image

from medclip.sources.phantom.population import draw_study
from medclip.sources.phantom.radiograph import draw_radiograph
from medclip.sources.phantom.report import write_report

EXAMINATIONS = 900
export = Path("export")
for folder in ("films", "thumbnails"):
    (export / folder).mkdir(parents=True, exist_ok=True)

rows = []
for number in range(EXAMINATIONS):
    study, file = draw_study(21, number), f"IM{number:04}.png"
    has_film, has_report = number % 7 != 3, number % 7 != 5
    if has_film:
        film = Image.fromarray(draw_radiograph(21, number, size=128))
        film.save(export / "films" / file)
        film.resize((32, 32)).save(export / "thumbnails" / file)
    rows.append(
        {
            "Accession": f"A{number}",
            "MRN": study.patient,
            "Picture": f"films/{file}" if has_film else "",
            "Thumbnail": f"thumbnails/{file}" if has_film else "",
            "Report": write_report(study) if has_report else "",
            "Projection": study.view,
        }
    )
pd.DataFrame(rows).to_csv(export / "hospital.csv", index=False)
(export / "films" / "IM0007.png").write_bytes(b"\x89PNG, and then the disk was full")
pd.DataFrame(rows).iloc[[2, 3, 5]]

# %% [markdown]
# ## 2. Which column is what?
#
# `medclip-prepare --images csv=export/hospital.csv --texts csv=export/hospital.csv` looks before minutes are spent. Columns
# are known by usual names (`Accession`, `MRN`, `Report`), and a column of files by what it holds. Here two columns hold
# files, and a wrong guess would train on thumbnails. So nothing is guessed:

# %%
import logging
import sys

import medclip

logger = logging.getLogger("medclip.sources.csv")  # what the command says on the screen
logger.addHandler(logging.StreamHandler(sys.stdout))
logger.setLevel(logging.INFO)

table = "csv=export/hospital.csv"
try:
    medclip.prepare(medclip.PrepareConfig(images=table, texts=table, cache_size=64))
except ValueError as error:
    print(error)

# %% [markdown]
# The message says what to add: on the command line `--columns path=Picture`, in Python `columns`.

# %%
films, reports = medclip.prepare(
    medclip.PrepareConfig(images=table, texts=table, cache_size=64, columns={"path": "Picture"})
)

# %% [markdown]
# **Read the line "taken from the table".** It is what every number below rests on. Then look at what could not be used, and at
# how patients were split. No patient is in two splits, whether as a film or as a report.

# %%
pd.read_csv(films.folder / "rejected.csv")[["image_id", "reason"]]

# %%
from medclip.data.prepared import split_tables

logger.setLevel(logging.WARNING)
split_tables([films, reports])

# %% [markdown]
# ## 3. Train
#
# The films get the labels of their reports, by the rules; reports without a film teach the text tower all the same. In the
# shell: `medclip-train --images csv=export/hospital.csv --columns path=Picture --output runs/hospital`. The towers here are
# tiny, so that it takes a minute; with real films leave `vision` and `text` out, or name pretrained ones.

# %%
run = medclip.train(
    medclip.TrainConfig(
        images=table,
        columns={"path": "Picture"},
        vision="tiny",
        text="tiny",
        image_size=64,
        cache_size=64,
        projection_dim=128,
        steps=400,
        learning_rate=2e-3,
        evaluate_every=100,
        augmentation={"crop": 1.0, "rotate": 0.0, "shift": 0.0, "scale": [1.0, 1.0]},
        objective_options={"target_temperature": 0.3},
        output="runs/hospital",
    ),
    bar=False,
)

# %% [markdown]
# ## 4. How good is it?
#
# Before anybody sees an answer: `medclip-evaluate runs/hospital --on csv=export/hospital.csv`. The truth here is what the
# labeler read in the test patients' reports; where a report is silent, nothing is counted.

# %%
results, folder = medclip.evaluate(medclip.EvaluateConfig(model="runs/hospital", on=table, resamples=200))
results.comparison().head(1)

# %%
found = {name.split("/")[-1]: metric for name, metric in results.metrics().items() if name.startswith("auroc/")}
found = {name: metric for name, metric in found.items() if name in run.metrics["observations"] and metric.low > 0.5}
pd.Series({name: f"{metric.value:.2f} ({metric.low:.2f} to {metric.high:.2f})" for name, metric in found.items()})

# %% [markdown]
# These are the observations whose interval lies above guessing (0.5). Of the others this model knows nothing that is shown,
# however sure its answers look. A few hundred films of 64 pixels are few.

# %% [markdown]
# ## 5. A page with films
#
# `medclip-classify runs/hospital export/films --html answers.html` writes one page that stands for itself: films, their
# strongest observations, and where each film is most like them. `--heatmap maps` writes the same as single pictures, with a
# bar of colours and the score. Both for eight films of test patients whose reports tell of an effusion:

# %%
from medclip.runs.classify import classify
from medclip.runs.settings import ClassifyConfig

asked = "Pleural Effusion"
test = films.images[(films.images["split"] == "test") & (films.images[asked] == 1)]["path"].head(8).tolist()
answers = classify(ClassifyConfig(model="runs/hospital", files=test, html="answers.html", heatmap="maps", show=[asked]))
print(asked, "on", len(answers.paths), "films;", Path("answers.html").stat().st_size // 1024, "kB: open answers.html")

# %% [gallery]
from medclip.evaluation.figures import pictures

# %matplotlib inline
figure = pictures([Image.open(path) for path in answers.heatmaps], [Path(path).name for path in test])
figure.set_size_inches(12, 6)
figure.set_dpi(58)
for axes in figure.axes:
    axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=12)
figure

# %% [markdown]
# Most maps lie over the fluid at the bottom of the lungs, as they should; the last one does not. With 500 films to learn from,
# that is what to expect, and a reason to look at pages before trusting numbers.
#
# The page, the maps, `prepared/` and the index of a search hold patients' data: keep them where the films are kept. Research
# software, not a medical device.

# %% [markdown]
# ## Exercises
#
# 1. Take your own export. Run part 2 until the line "taken from the table" is right; docs/own-hospital.md lists what else a
#    table may need (other encodings, findings and impression apart, films and reports in two tables).
# 2. Delete the column MRN from hospital.csv and prepare again. What does the message warn of, and why would the numbers of
#    part 4 then be too good?
# 3. Add a column `Edema` with 1, 0, -1 or nothing for some of the films. Whose labels count now?
