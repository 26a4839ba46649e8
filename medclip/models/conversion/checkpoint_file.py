"""Reading a file of weights, whoever wrote it, without running anything that it holds."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors.torch import load_file
from torch import Tensor

from labelers.errors import UserError
from medclip.data.text_files import encoding_of
from medclip.utils.text import first_line

State = dict[str, Tensor]
#: What is read here, for messages.
EXPECTED = "weights in a .bin, .pt, .pth, .ckpt or .safetensors file, or a .zip or folder of one"
#: How many times its packed size a file of weights may have; weights hardly compress.
_INFLATION = 50
_HEAD = 4096
#: What is often downloaded or named by mistake, by how it begins.
_OTHERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file it stands for (fetch that with: git lfs pull)",
    b"<!doctype html": "a web page, perhaps of a download that needs a login", b"<html": "a web page",
    b"\x89hdf": "an HDF5 file, such as Keras writes", b"\x1f\x8b": "a gzip archive; unpack it", b"\x89png": "an image",
    b"\xff\xd8\xff": "an image", b"%pdf": "a PDF", b"rar!": "a RAR archive; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
}  # fmt: skip


class CheckpointError(UserError):
    """A file that is no checkpoint we know; the message says why."""


def read_state(path: Path) -> State:
    """Returns the tensors in a checkpoint by name, running nothing that it may hold.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, holds code, or holds no tensors.
    """
    if path.is_dir():
        return read_state(_in_folder(path))
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if zipfile.is_zipfile(path) and not _is_torch_zip(path):
        return _read_zip(path)
    if what := _other_kind(head, path.suffix.lower()):
        raise CheckpointError(f"{path} is {what}; expected {EXPECTED}.")
    try:
        if head[8:9] == b"{":  # after its length, the header of safetensors
            return load_file(path)
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds code beside its weights, which is not run here. If you trust who made it, load it elsewhere "
            f"and save its state_dict alone. ({_first_sentence(error)})"
        ) from error
    except Exception as error:  # safetensors and torch raise many kinds for damaged files; all mean the same here
        raise CheckpointError(
            f"{path} is damaged or no checkpoint ({type(error).__name__}: {_first_sentence(error)}); expected "
            f"{EXPECTED}."
        ) from error
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(saved, dict) and isinstance(saved.get(name), dict):
            saved = saved[name]
    if not isinstance(saved, dict) or not any(isinstance(value, Tensor) for value in saved.values()):
        raise CheckpointError(f"{path} holds no tensors by name, but {type(saved).__name__}; expected {EXPECTED}.")
    return {str(name): value for name, value in saved.items() if isinstance(value, Tensor)}


def _read_zip(path: Path) -> State:
    with zipfile.ZipFile(path) as archive:
        inside = [name for name in archive.namelist() if name.endswith((".bin", ".safetensors"))]
        if len(inside) != 1:
            raise CheckpointError(
                f"{path} is a zip archive of {len(archive.namelist())} files, {len(inside)} of them weights (.bin or "
                ".safetensors); expected one, such as pytorch_model.bin."
            )
        member = archive.getinfo(inside[0])
        if member.file_size > _INFLATION * member.compress_size:
            raise CheckpointError(
                f"{path}: {inside[0]} grows from {member.compress_size:,} to {member.file_size:,} bytes, which weights "
                "do not. It is not unpacked."
            )
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / Path(inside[0]).name
            with archive.open(member) as packed, target.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
            return read_state(target)


def _in_folder(folder: Path) -> Path:
    """Returns the file of weights in a folder."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    if any(folder.glob("*.index.json")):
        raise CheckpointError(f"{folder} holds weights in several parts, which is not read; expected {EXPECTED}.")
    names = sorted(path.name for path in folder.iterdir())
    found = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
    raise FileNotFoundError(f"{folder} holds neither model.safetensors nor pytorch_model.bin. Found: {found}.")


def _is_torch_zip(path: Path) -> bool:
    """Tells whether a zip archive is what torch saves, whatever it is called."""
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def _other_kind(head: bytes, suffix: str) -> str:
    """Returns what a file is that begins with `head` and is no checkpoint; "" where it may be one."""
    if not head:
        return "empty"
    start = head.lstrip()[:64].lower()
    for mark, what in _OTHERS.items():
        if start.startswith(mark):
            return what
    if suffix in (".onnx", ".dcm", ".h5", ".keras", ".tflite"):
        return f"a {suffix} file"
    if encoding_of(head) == "utf-8" and b"\0" not in head and not any(byte < 9 for byte in head):
        try:
            head[:-4].decode()
        except UnicodeDecodeError:
            return ""
        return "a text file"
    return ""


def _first_sentence(error: Exception) -> str:
    """Returns what went wrong, without the advice of torch to run what the file holds."""
    return first_line(error).split(". ")[0][:200]
