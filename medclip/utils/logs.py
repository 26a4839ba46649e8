"""What a command or one of its processes says on the screen: our own news, and no library's of itself."""

from __future__ import annotations

import logging
import sys
import warnings


def start_logging() -> None:
    """Sends log lines of this process to standard error, without the warnings that libraries give each other."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    warnings.filterwarnings("ignore", module="lightning|torch|transformers|albumentations")
    warnings.filterwarnings("ignore", module="highdicom|pydicom")  # which quote names and ids of patients
    logging.getLogger("pydicom").disabled = True  # its import sets a level of its own
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # a line for every module that it copies


def quieten() -> None:
    """Keeps libraries' news of themselves off the screen; to be called after their import, which sets levels."""
    from transformers.utils import logging as transformers_logging

    for name in ("lightning.pytorch", "lightning.fabric", "httpx", "matplotlib", "onnxscript", "onnx_ir", "root.onnx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
