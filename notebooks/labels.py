# %% [markdown]
# # Label reports
#
# **Afterwards you can** turn reports into labels, see which words decided, label a whole table, and choose what "possible"
# and "no" are to mean in training.
#
# **Time:** one minute. The labeler needs no network and no GPU; it reads thousands of reports a second on one core.

# %% [markdown]
# ## 1. One report
#
# For each of 14 observations the labeler says 1 (there), 0 (not there), -1 (uncertain), or nothing where the report is
# silent.

# %%
import pandas as pd

from labelers import CHEXPERT14, load_labeler

labeler = load_labeler("rules")
report = """INDICATION: Rule out pneumonia.

FINDINGS: The heart is enlarged. Large left pleural effusion, increased since yesterday. There is no pneumothorax or edema.
Possible consolidation at the right base. A 9 mm nodule in the left upper lobe.

IMPRESSION: Cardiomegaly. Left effusion, larger."""
pd.Series(labeler([report])[0], index=CHEXPERT14).dropna().astype(int)

# %% [markdown]
# Pneumonia is asked about in the indication, and so is not labelled: a question is no finding.

# %% [markdown]
# ## 2. Why?
#
# Every state has its evidence: the words that name the observation, and the cue that decided. Here they are coloured: red
# is positive, green is negative, yellow is uncertain; cues are underlined.

# %%
import re

from PIL import Image, ImageDraw, ImageFont

from labelers.explain import COLOURS, explain_rows

FONT, LINE = ImageFont.load_default(17), 28


def coloured(text, width=740):
    """Draws a report with its mentions on the colour of their state, and their cues underlined."""
    found = labeler.explain(text)
    picture = Image.new("RGB", (width, LINE * (text.count("\n") + len(text) // 70 + 2)), "white")
    draw, left, top = ImageDraw.Draw(picture), 12.0, 8
    for word in re.finditer(r"\n|\S+", text):
        if word[0] == "\n":
            left, top = 12.0, top + LINE
            continue
        across, middle = draw.textlength(word[0] + " ", FONT), (word.start() + word.end()) / 2
        if left + across > width:
            left, top = 12.0, top + LINE
        for finding in found:
            if finding.span[0] <= middle < finding.span[1]:
                draw.rectangle((left - 3, top, left + across - 3, top + LINE - 6), fill=COLOURS[finding.state])
        if any(finding.cue_span and finding.cue_span[0] <= middle < finding.cue_span[1] for finding in found):
            draw.line((left, top + LINE - 7, left + across - 5, top + LINE - 7), fill="black", width=2)
        draw.text((left, top), word[0], fill="black", font=FONT)
        left += across
    return picture.crop((0, 0, width, top + LINE + 8))


# %% [gallery]
coloured(report)

# %%
pd.DataFrame(explain_rows(report, labeler.explain(report)))[["observation", "state", "mention", "cue", "attributes"]]

# %% [markdown]
# A finding is a record with side, place, size and course. The shell writes them for a whole table, as JSON lines or FHIR:
# `medclip-label reports.csv --findings findings.jsonl`, and the coloured page with `--explain --output page.html`.

# %% [markdown]
# ## 3. Hard sentences
#
# A list of denials, a denial that ends halfway, a hedge, something that is gone, and something that is only *not larger*.
# Say what each means before you look.

# %%
hard = """No pneumothorax, effusion or fracture.
No edema, but a small effusion remains.
Atelectasis versus pneumonia.
The pneumothorax has resolved.
No increase in the left effusion.
Pneumonia cannot be excluded."""
coloured(hard)

# %% [markdown]
# ## 4. Two thousand reports
#
# On the command line: `medclip-label reports.csv --text-column findings,impression --output labels.csv`. Here the reports
# are synthetic. What do they speak of, and what do they pass over?

# %% [gallery]
from medclip.utils.plugins import load_plugin

reports = load_plugin("sources", "phantom")(studies=2000).texts()
states = pd.DataFrame(labeler(reports["text"].tolist()), columns=CHEXPERT14)
counts = pd.DataFrame(
    {
        "positive": (states == 1).sum(),
        "uncertain": (states == -1).sum(),
        "negative": (states == 0).sum(),
        "unmentioned": states.isna().sum(),
    }
)

# %matplotlib inline
colours = [*(COLOURS[state] for state in ("positive", "uncertain", "negative")), "#eeeeee"]
axes = counts[::-1].plot.barh(stacked=True, color=colours, figsize=(9, 4.5), width=0.8, xlabel="reports")
legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=4, frameon=False)

# %% [markdown]
# Grey is most of the picture: reports are silent about most things. Silence is not a denial, and the labeler keeps the two
# apart.

# %% [markdown]
# ## 5. From states to training
#
# Training sees label vectors. What uncertain and negative come to is a choice, and is saved with the run.

# %%
from labelers import LabelPolicy

policies = {
    "soft, opposite (default)": LabelPolicy(uncertain="soft", negative="opposite"),
    "zero, absent": LabelPolicy(uncertain="zero", negative="absent"),
    "one, absent": LabelPolicy(uncertain="one", negative="absent"),
}
pd.DataFrame({name: policy(labeler([report]))[0] for name, policy in policies.items()}, index=CHEXPERT14).T

# %% [markdown]
# ## Exercises
#
# 1. Paste a sentence of your own into `coloured(...)`. Try to mislead the labeler: double negations, questions, "history
#    of". What you find wrong can be taught: a phrase is a line in a text file (docs/lexicon.md).
# 2. `load_labeler("rules", vocabulary="cxr50")` reads 50 observations. Which of them are in `report`?
# 3. Count how often an observation is uncertain among those that are mentioned. Which one would suffer most from
#    `uncertain="zero"`?
