"""medclip-evaluate: what a trained model can do, on images it was not trained on."""

from __future__ import annotations

from medclip.cli.config import given, read_config
from medclip.cli.console import command, print_table, progress_bar, with_threads
from medclip.runs.settings import EvaluateConfig
from medclip.utils.logs import quieten

_EXAMPLES = """\
examples:
  medclip-evaluate runs/phantom --on phantom --baselines untrained,supervised
  medclip-evaluate runs/mine --on nih=/data/CXR8 --observations Pneumothorax,Edema
  medclip-evaluate runs/mine/model --on csv=my/images.csv --prompts my-prompts.yaml --output results
  medclip-evaluate runs/mine --on mimic-cxr --texts mimic-reports --evaluators zero-shot,retrieval,calibration
  medclip-evaluate runs/mine --on rsna --evaluators linear-probe,fine-tune,grounding --shares 0.01,0.1,1.0
  medclip-evaluate runs/mine --on nih=/data/CXR8,padchest=/data/PadChest --references runs/a,runs/b,runs/c
  medclip-evaluate runs/mine --on phantom --evaluators zero-shot,prompt-styles --examples 8
  medclip-evaluate runs/mine --on nih=/data/CXR8 --evaluators zero-shot,few-shot,subgroups,abstention --save-abstention
  medclip-evaluate runs/mine --on chexpert-5x200 --protocol medclip-2022 --prompts chexpert14,medclip/constants.py

Results: report.html to read; metrics.json (with everything needed to repeat the evaluation), tables as CSV and plots
as PNG. Intervals are 95 % bootstrap intervals over patients. Whatever is fitted or chosen is fitted and chosen on
other splits and other patients than those reported on."""


def run(argv: list[str]) -> int:
    """Evaluates a model as configured."""
    config = read_config(
        EvaluateConfig, argv, prog="medclip-evaluate", description="Evaluate a model without training it on the task.",
        examples=_EXAMPLES,
    )  # fmt: skip
    from medclip.inference.load import find_model

    find_model(config.model)  # before torch is imported, which takes seconds
    from medclip.evaluation.html import readable
    from medclip.runs.evaluate import evaluate

    quieten()
    with progress_bar() as progress:
        results, output = evaluate(with_threads(config), given=given(argv), progress=progress)
    for name, one in {config.on: results, **results.apart}.items():
        table = one.comparison()
        title = f"{name}, {one.about['split']} split, {one.about['images']:,} images (95 % intervals over patients)"
        print_table(title, list(table.columns), table.astype(str).to_numpy().tolist())
    for title, table in (("By test set", results.by_test_set()), ("Effective robustness", results.robustness)):
        if len(table):
            shown = readable(table)
            print_table(title, list(shown.columns), shown.to_numpy().tolist())
    beside = results.beside_published()
    if len(beside):
        print_table("Beside what was published", list(beside.columns), beside.astype(str).to_numpy().tolist())
    for line in results.remarks():
        print(line)
    for name, one in results.apart.items():
        for line in one.left_out_lines():
            print(f"{name}: {line}")
    print(f"To read: {output / 'report.html'}; to compute with: {output / 'metrics.json'} and tables beside it")
    return 0


main = command(run)
