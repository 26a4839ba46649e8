"""medclip-convert: checkpoints of other code to a model folder of ours."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from labelers.errors import UserError
from medclip.cli.config import read_config
from medclip.cli.console import command, print_table
from medclip.runs.settings import ConvertConfig
from medclip.utils.logs import quieten

logger = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  medclip-convert medclip-vit-pretrained.zip --output models/medclip-vit
  medclip-convert chexpert_resnet50.ckpt --output models/gloria --tokenizer /models/Bio_ClinicalBERT
  medclip-convert chexzero.pt --output models/chexzero --tokenizer openai/clip-vit-base-patch32

Reads the official MedCLIP (ResNet and ViT), GLoRIA, CheXzero and ConVIRT-pytorch checkpoints, runs no code in them,
and says which of their keys were used. Checkpoints bring no tokenizer; without --tokenizer that of their authors is
fetched. Where to obtain them, and under which licence: https://github.com/RyanWangZf/MedCLIP,
https://github.com/marshuang80/gloria, https://github.com/rajpurkarlab/CheXzero and
https://github.com/edreisMD/ConVIRT-pytorch."""

_TOKENIZERS = {"chexzero": "openai/clip-vit-base-patch32"}


def run(argv: list[str]) -> int:
    """Converts a checkpoint as configured."""
    config = read_config(
        ConvertConfig,
        argv,
        prog="medclip-convert",
        description="Convert other code's checkpoint.",
        examples=_EXAMPLES,
    )
    if not config.checkpoint:
        raise UserError("Which checkpoint? medclip-convert CHECKPOINT --output FOLDER")
    if not Path(config.checkpoint).exists():
        raise FileNotFoundError(f"There is no checkpoint {config.checkpoint}.")
    from medclip.models.conversion.convert import check_tokenizer, convert
    from medclip.models.processor import MedCLIPProcessor, load_tokenizer

    quieten()
    made = convert(config.checkpoint, text_heads=config.text_heads or None)
    name = config.tokenizer or _TOKENIZERS.get(made.kind, "emilyalsentzer/Bio_ClinicalBERT")
    if not config.tokenizer:
        logger.info("Taking the tokenizer of the authors, %s; --tokenizer names another.", name)
    tokenizer = load_tokenizer(name)
    check_tokenizer(made.model, len(tokenizer), name)
    processor = MedCLIPProcessor(tokenizer, image_size=224, **made.processor)
    made.model.save_pretrained(config.output)
    processor.save_pretrained(config.output)
    rows = [["used", str(len(made.used)), ""]]
    for what, keys in (("not used", made.unused), ("missing, left as initialised", made.missing)):
        names = dict.fromkeys(re.sub(r"\d+", "N", key) for key in keys)
        rows.append([what, str(len(keys)), ", ".join(names)[:160]])
    print_table(f"{config.checkpoint}: {made.kind}", ["keys", "count", "names"], rows)
    print(f"Model: {Path(config.output)}. Next: medclip-evaluate {config.output} --on NAME=PATH")
    return 0


main = command(run)
