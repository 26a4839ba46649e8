"""A whole run of medclip-train by two and four processes (gloo) against one on the same global batches.

    python benchmarks/two_processes.py        about 5 minutes on 2 CPU cores

Towers without batch normalisation and dropout (a Swin and a BERT, tiny, from configs), whose arithmetic does not depend
on which process an image is in; no augmentation. What is left is the order of floating-point sums.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, SwinConfig, SwinModel

from medclip.models.processor import train_tokenizer
from medclip.utils.plugins import load_plugin

STEPS = 40
PROCESSES = (2, 4)


def make_towers(folder: Path) -> None:
    """Saves a tiny image and a tiny text encoder, as a model hub would hold them."""
    torch.manual_seed(0)
    plain = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    swin = SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4,
                      drop_path_rate=0.0, **plain)  # fmt: skip
    SwinModel(swin).save_pretrained(folder / "swin")
    tokenizer = train_tokenizer(load_plugin("sources", "phantom")(studies=200).texts()["text"].tolist(), vocab_size=500)
    bert = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                      intermediate_size=64, **plain)  # fmt: skip
    BertModel(bert).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")


def train(folder: Path, name: str, processes: int, *more: str, objective: str) -> Path:
    output = folder / f"{name}-{processes}"
    options = {
        "--images": "phantom", "--texts": "phantom", "--image-size": "32",
        "--source-options": "{phantom: {studies: 400, size: 32, paired: true}}",
        "--cache-size": "32", "--vision": str(folder / "swin"), "--text": str(folder / "bert"),
        "--projection-dim": "16", "--batch-images": "16", "--batch-texts": "16", "--steps": str(STEPS),
        "--evaluate-every": "20", "--workers": "0",
        "--threads": "1", "--accelerator": "cpu", "--devices": str(processes), "--learning-rate": "1e-3",
        "--augmentation": "{crop: 1.0, rotate: 0.0, shift: 0.0, scale: [1.0, 1.0], jitter: 0.0}",
        "--objective": objective, "--prepared": str(folder / "prepared"), "--output": str(output),
    }  # fmt: skip
    words = [word for pair in options.items() for word in pair]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", port]
    launch += ["--no-python", str(Path(sys.executable).with_name("medclip-train"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *words, *more], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_towers(folder)
        counts = " and ".join(map(str, PROCESSES))
        print(f"{STEPS} steps of 16 images and 16 texts; largest difference of {counts} processes from one")
        print(f"{'objective':<20} {'loss':>9} {'weights':>9} {'weights moved':>14}  best step, validation AUROC")
        for objective, more in (("semantic-matching", ()), ("semantic-matching", ("--own-rows",)), ("clip", ())):
            label = objective + (", own rows" if more else "")
            runs = [train(folder, label, count, *more, objective=objective) for count in (1, *PROCESSES)]
            losses = [pd.read_csv(run / "logs" / "version_0" / "metrics.csv")["train/loss"].dropna() for run in runs]
            weights = [load_file(run / "model" / "model.safetensors") for run in runs]
            pairs = [(weights[0][key], other[key]) for other in weights[1:] for key in other]
            off = max(float((one - other).abs().max()) for one, other in pairs)
            begun = load_file(folder / "swin" / "model.safetensors")
            moved = max(
                float((weights[0][f"vision.backbone.{key}"] - value).abs().max())
                for key, value in begun.items() if f"vision.backbone.{key}" in weights[0]
            )  # fmt: skip
            best = [json.loads((run / "metrics.json").read_text())["best"] for run in runs]
            said = ", ".join(f"{b['step']} {b['auroc/mean']:.4f}" for b in best)
            loss = max(abs(losses[0].to_numpy() - other.to_numpy()).max() for other in losses[1:])
            print(f"{label:<20} {loss:>9.1e} {off:>9.1e} {moved:>14.1e}  {said}", flush=True)


if __name__ == "__main__":
    main()
