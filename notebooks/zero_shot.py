# %% [markdown]
# # Zero-shot: ask films in words
#
# **Afterwards you can** train a model on films and on sentences about *other* patients, ask it about films that it has
# not seen in any words you like, see where in a film the words are, and say how far to believe it.
#
# **Time:** three minutes on a quiet laptop, nearly all of it for training. Everything is synthetic; nothing is fetched.

# %% [markdown]
# ## 1. Train
#
# `phantom` draws chest films and writes reports. The 2,000 films and the 2,000 reports below are of different patients:
# the model never sees a film with its report. With your own data only the sources change, such as
# `images="chexpert", texts="mimic-reports"`. The shell says the same with `medclip-train --images phantom ...`.

# %%
import medclip

run = medclip.train(
    medclip.TrainConfig(
        images="phantom",
        source_options={"phantom": {"studies": 2000, "size": 64}},
        image_size=64,
        cache_size=64,
        projection_dim=128,
        steps=300,
        learning_rate=1e-3,
        evaluate_every=100,
        augmentation={"crop": 1.0, "rotate": 0.0, "shift": 0.0, "scale": [1.0, 1.0]},
        objective_options={"target_temperature": 0.3},
        output="runs/tutorial",
    ),
    bar=False,
)

# %% [markdown]
# ## 2. Look at films
#
# Two hundred films of another made-up population. Since we drew them, we know what is on each.

# %%
import pandas as pd

from medclip.evaluation.figures import pictures
from medclip.sources.phantom.population import draw_study
from medclip.sources.phantom.radiograph import draw_boxes, draw_radiograph

# %matplotlib inline
SIDE = 192
numbers = range(200)
films = [draw_radiograph(7, number, size=SIDE) for number in numbers]
asked = {"Cardiomegaly": "large heart", "Edema": "edema", "Pleural Effusion": "fluid", "Support Devices": "devices"}
truth = pd.DataFrame([{name: draw_study(7, number).has(name) for name in asked} for number in numbers])


def shown(drawn, titles, **more):
    figure = pictures(drawn, titles, **more)
    figure.set_dpi(55)
    for axes in figure.axes:
        axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=13)
    return figure


def said(number):
    return ", ".join(word for name, word in asked.items() if truth[name][number]) or "none of the four"


shown(films[20:28], [said(number) for number in range(20, 28)])

# %% [markdown]
# Can you see the fluid (white above the diaphragm), the large hearts and the lines? The films are 192 pixels wide here; the
# model looks at 64.

# %% [markdown]
# ## 3. Ask
#
# A classifier is a model and prompts. `chexpert14` asks about 14 observations, each in a few wordings of "it is there" and
# "it is not".

# %%
classifier = medclip.load("runs/tutorial")
classifier.prompts["Pleural Effusion"]

# %%
scores = pd.DataFrame(classifier.scores(classifier.embed(films)), columns=classifier.observations)
scores.loc[20:27, list(asked)].round(2)

# %% [markdown]
# A score says how much nearer the film is to "it is there" than to "it is not". Compare scores **down a column**, never
# across a row: some observations score high on every film. So rank all 200 films by one question. Above the four that
# score highest for fluid, with a map of where the film is most like the words and the true place outlined; below the four
# that score lowest.

# %% [gallery]
from medclip.inference.heatmap import overlay, to_square

question = "Pleural Effusion"
order = scores[question].sort_values().index.tolist()
top, bottom = order[:-5:-1], order[:4]
_, maps = classifier.locate([films[number] for number in top], [question])
drawn = [overlay(films[number], to_square(own[0], SIDE)) for number, own in zip(top, maps)]
boxes = [[box for name, box in draw_boxes(7, number, size=SIDE) if name == question] for number in top]
shown(
    drawn + [films[number] for number in bottom],
    [f"{scores[question][number]:+.2f}: {said(number)}" for number in top + bottom],
    boxes=boxes + [[]] * 4,
)

# %% [markdown]
# A map says where the score comes from, not that something is there: it has a brightest place in a healthy film, too.

# %% [markdown]
# ## 4. How good is it?
#
# Eight films prove nothing. `medclip.evaluate` (or `medclip-evaluate runs/tutorial --on phantom`) asks about the test
# split, with 95 % intervals over patients and with what guessing gets.

# %%
results, folder = medclip.evaluate(medclip.EvaluateConfig(model="runs/tutorial", on="phantom", resamples=200))
results.comparison().head(8)

# %% [markdown]
# 0.5 is guessing, 1 is perfect. Observation by observation it is very uneven; what is small in a film of 64 pixels is not
# found:

# %%
from sklearn.metrics import roc_auc_score

pd.Series({name: roc_auc_score(truth[name], scores[name]) for name in asked}, name="AUROC on the 200 films").round(2)

# %% [markdown]
# ## 5. Ask in your own words
#
# Anything that you can word, with its contrary. Wording matters, so measure it: how well does each question tell films
# with fluid from those without?

# %%
from medclip.inference.prompts import Prompts

questions = {
    "as reports say it": Prompts(("There is a pleural effusion.",), ("No pleural effusion.",)),
    "larger": Prompts(("Large bilateral pleural effusions.",), ("No pleural effusion.",)),
    "without a contrary": Prompts(("There is a pleural effusion.",)),
    "another thing": Prompts(("There is a fracture.",), ("No fracture.",)),
    "no words of a report": Prompts(("Tea is served.",), ("Coffee is served.",)),
}
own = medclip.ZeroShotClassifier(classifier.model, classifier.processor, questions)
answers = own.scores(own.embed(films))
pd.Series({name: roc_auc_score(truth["Pleural Effusion"], row) for name, row in zip(questions, answers.T)}).round(2)

# %% [markdown]
# Wordings of the same thing agree. But a question about fractures ranks films with fluid far better than guessing, and so does
# one about tea, whose words the model has never read: films differ most in how ill they look, and nearly any direction
# follows that. A high number alone does not show that the words were understood. Always ask something beside it that should
# not work.

# %% [markdown]
# ## Exercises
#
# 1. Change `question` in part 3 to `"Cardiomegaly"`, `"Support Devices"` and `"Fracture"`. Which maps point at the right
#    place? Which observation does part 4 say not to trust?
# 2. Write a question of your own in part 5, such as "The heart is enlarged." against "Heart size is normal.", and measure it
#    with `truth["Cardiomegaly"]`.
# 3. Ask with your own JPEG, PNG or DICOM files: `classifier(["film.dcm"])`. This model has seen drawings only, so believe
#    nothing that it says of them.
