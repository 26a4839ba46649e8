"""medclip-export: a model as ONNX files, to run without torch."""

from __future__ import annotations

from pathlib import Path

from labelers.errors import UserError
from medclip.cli.config import read_config
from medclip.cli.console import command, with_threads
from medclip.runs.settings import ExportConfig
from medclip.utils.logs import quieten

_EXAMPLES = """\
examples:
  medclip-export runs/phantom --output exported
  medclip-export runs/mine/model --output exported-int8 --int8 --prompts my-prompts.yaml
  medclip-classify exported chest.dcm"""


def run(argv: list[str]) -> int:
    """Exports a model as configured."""
    config = read_config(
        ExportConfig, argv, prog="medclip-export", description="Export both towers to ONNX.", examples=_EXAMPLES
    )
    if not config.model:
        raise UserError("Which model? medclip-export MODEL --output FOLDER")
    from medclip.inference.load import find_model, load_model

    folder, _ = find_model(config.model)
    from medclip.inference.abstention import Abstention
    from medclip.inference.calibration import Calibration
    from medclip.inference.export import export

    config = with_threads(config)
    model, processor = load_model(folder, device="cpu", threads=config.threads)
    quieten()
    output = Path(config.output)
    calibration = Calibration.load(folder, prompts=config.prompts)
    export(model, processor, output, prompts=config.prompts, int8=config.int8, calibration=calibration)
    if rules := Abstention.find(folder, prompts=config.prompts):
        rules.save(output)
    sizes = {path.name: path.stat().st_size / 1e6 for path in sorted(output.glob("*.onnx"))}
    print(f"{output}: {', '.join(f'{name} {size:.1f} MB' for name, size in sizes.items())}. "
          f"Next: medclip-classify {output} FILES...")  # fmt: skip
    return 0


main = command(run)
