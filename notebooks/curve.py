# %% [markdown]
# # Objectives and the data-efficiency curve
#
# **Afterwards you can** say what an objective asks of a model, choose one for the data you have, and compare two of them
# fairly: the same training at several sizes, with intervals, and a sentence that claims no more than the runs show.
#
# **Time:** three minutes on a quiet laptop.

# %% [markdown]
# ## 1. What an objective asks for
#
# Six patients, each with a film and a report. A paired objective such as `clip` says: film 1 belongs to sentence 1, and to no
# other. But sentences 1 and 2 say the same; calling one the other's negative is wrong. `semantic-matching` compares
# *labels*: film and sentence belong together as far as what they say agrees, whoever they are of.

# %% [gallery]
import numpy as np
from matplotlib.figure import Figure

from labelers import LabelPolicy, load_labeler

reports = [
    "Large left pleural effusion.",
    "Small right pleural effusion. Pulmonary edema.",
    "Pulmonary edema. The heart is enlarged.",
    "The heart is enlarged.",
    "Left pneumothorax. No pleural effusion.",
    "No pleural effusion.",
]
sentences = [report.split(". ")[0].rstrip(".") for report in reports]
labeler, policy = load_labeler("rules"), LabelPolicy(uncertain="soft", negative="opposite")


def unit_labels(texts):
    vectors = policy(labeler(texts))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


targets = {
    "clip: own sentence, no other": np.eye(len(reports)),
    "semantic-matching: labels agree (cosine)": unit_labels(reports) @ unit_labels(sentences).T,
}

# %matplotlib inline
figure = Figure(figsize=(10, 4.6), layout="constrained", dpi=70)
for axes, (title, values) in zip(figure.subplots(1, 2), targets.items()):
    drawn = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_xticks(range(len(sentences)), sentences, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(reports)), [f"film {i + 1}" for i in range(len(reports))], fontsize=8)
    axes.set_title(title, fontsize=10)
figure.colorbar(drawn, ax=figure.axes, label="apart -1, together 1", shrink=0.8)
figure

# %% [markdown]
# Read the row of film 1: its sentence, the other patient's effusion too, and *against* "No pleural effusion". That is also why no
# pairs are needed: nothing on the right asks whose sentence it is.

# %% [markdown]
# ## 2. What there is
#
# Objectives that need pairs refuse other data before any work. docs/objectives.md compares them on equal terms.

# %%
import pandas as pd

from medclip.utils.plugins import load_plugin, plugin_names

objectives = {name: load_plugin("objectives", name) for name in plugin_names("objectives")}
pd.DataFrame(
    {
        name: {"needs pairs": one.needs_pairs, "needs labels": one.needs_labels, "compares patches": one.needs_local}
        for name, one in objectives.items()
    }
).T

# %% [markdown]
# ## 3. A curve
#
# One training run says little: another size, and the order may turn round. So train both at three sizes. The recipe is what
# both share; `semantic-matching` gets films and reports of *different* patients, `clip` gets pairs. Small, so that it
# takes minutes; `benchmarks/claim-labels.yaml` is the real one, on 500 to 20,000 films and reports.

# %%
from pathlib import Path

Path("recipe.yaml").write_text("""
images: phantom
texts: phantom
image_size: 48
cache_size: 48
vision: tiny
text: tiny
projection_dim: 64
steps: 120
learning_rate: 2.0e-3
evaluate_every: 0
augmentation: {crop: 1.0, rotate: 0.0, shift: 0.0, scale: [1.0, 1.0]}
""")

# %%
from medclip.runs.curve import run_curve
from medclip.runs.curve_plan import plan_curve
from medclip.runs.settings import CurveConfig

population = {"studies": 2000, "size": 48}
arms = {
    "semantic-matching, no pairs": {
        "objective_options": {"target_temperature": 0.3},
        "source_options": {"phantom": population},
    },
    "clip, pairs": {"objective": "clip", "source_options": {"phantom": {**population, "paired": True}}},
}
config = CurveConfig(sizes="100,400,1500", seeds=1, arms=arms, resamples=100, recipe="recipe.yaml", output="runs/curve")
result = run_curve(plan_curve(config))

# %% [markdown]
# Every point is a row, with a 95 % interval over the test patients. A point that is done is not done again, so more seeds or
# sizes cost only what is new.

# %%
result.table[result.table["metric"] == "auroc/mean"].round(3)

# %% [gallery]
figure = Figure(figsize=(7, 4), layout="constrained", dpi=80)
axes = figure.subplots()
for arm, part in result.table[result.table["metric"] == "auroc/mean"].groupby("arm", sort=False):
    bars = [part["value"] - part["low"], part["high"] - part["value"]]
    axes.errorbar(part["size"], part["value"], yerr=bars, marker="o", capsize=4, label=arm)
axes.axhline(0.5, color="grey", linestyle="--", linewidth=1, label="guessing")
axes.set_xscale("log")
axes.set_xticks([100, 400, 1500], ["100", "400", "1,500"])
axes.minorticks_off()
axes.set(xlabel="training films and reports", ylabel="mean AUROC, 95 % interval over patients")
axes.grid(alpha=0.3)
axes.legend(frameon=False)
figure

# %% [markdown]
# The curve of `clip` goes down at 1,500, though nobody would expect more films to harm. With one seed and 120 steps this may be
# chance of the run, which intervals over patients do not show. It is why a claim needs several seeds.

# %% [markdown]
# ## 4. What it says in words
#
# Of an arm that is not shown to be better than guessing, the sentence says only that. "Times as many" reads both curves at the
# best that both reach, never beyond what was trained.

# %%
print(*result.lines, sep="\n")

# %% [markdown]
# What it does **not** say: one seed has no spread over seeds, both arms share one recipe that may suit one of them better, and
# drawings are not patients. `seeds: 3`, `trials: 8` (settings of its own for each arm, chosen on the valid split) and your
# own data answer these in turn.

# %% [markdown]
# ## Exercises
#
# 1. Set `seeds=2` and run part 3 again: only three new points an arm are trained. Do the intervals of the two seeds overlap?
#    `medclip.evaluation.data_efficiency.draw(result.table, ["auroc/mean"])` draws both.
# 2. Add an arm `"clip, whole reports"` with `"pair_text": "report"` beside the settings of `clip`. Where does its curve lie,
#    and why do whole reports help a paired objective?
# 3. In part 1, add a seventh report, "Possible pleural effusion.", and explain its column.
