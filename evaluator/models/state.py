"""Read the tensors of a weights file, and run none of its code.

Guarantee: whatever else a torch file holds (configurations, optimisers, training arguments) is never built: its classes are
replaced by an inert one, so that their code cannot run.
"""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPERS = ("state_dict", "model", "model_state_dict", "teacher")
_TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".torch")
#: Magic number, protocol, system, content, keys of the storages: then come raw bytes.
_LEGACY_PICKLES = 5


def load_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file, on the CPU.

    Parameters
    ----------
    path
        ``.safetensors``, or ``.pt``, ``.pth``, ``.bin``, ``.ckpt``, ``.tar``, ``.torch`` as torch saves them.

    Returns
    -------
    dict of str to Tensor
        Unwrapped from ``state_dict``, ``model``, ``model_state_dict`` or ``teacher`` and from a common ``module.``
        prefix.

    Raises
    ------
    UserError
        If the file is damaged, of another kind, a TorchScript archive, or has other things than tensors among its
        named tensors.
    """
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    if path.suffix not in _TORCH_SUFFIXES:
        kinds = ", ".join([".safetensors", *_TORCH_SUFFIXES])
        raise UserError(
            f"weights file {path} must end in one of {kinds}, got {path.suffix!r}. Convert it to safetensors."
        )
    return _tensors(_load_torch(path), path)


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path, device="cpu"))
    except SafetensorError as error:
        raise UserError(
            f"weights file {path} is damaged or no safetensors file: {error}. Get it again."
        ) from error


def _load_torch(path: Path) -> Any:
    import torch

    if _is_torchscript(path):
        raise UserError(
            f"weights file {path} is a TorchScript archive (as OpenAI's original CLIP files are), "
            "which holds code: refused. Use the same weights as safetensors, "
            "for CLIP 'open_clip_model.safetensors' of the model's hub page."
        )
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            with torch.serialization.safe_globals(_stand_ins(path)):
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"weights file {path} holds pickled objects other than tensors, which could run code, or is damaged: "
            "refused. Save its tensors as safetensors in a sandbox and use that file."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        cause = str(error).strip().splitlines()[:1]
        raise UserError(
            f"weights file {path} is damaged or no torch file: {''.join(cause)}. Get it again."
        ) from error


class _Inert:
    """What a class of the file is replaced by: takes any arguments and any state, keeps none."""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _stand_ins(path: Path) -> list[Any]:
    """Return an inert class for every name in the file that torch would not build by itself."""
    import torch

    if zipfile.is_zipfile(path):
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    else:
        names = [
            name for name in _legacy_names(path) if name.partition(".")[0] not in ("torch", "collections")
        ]
    return [(type("Inert", (_Inert,), {}), name) for name in names]


def _legacy_names(path: Path) -> list[str]:
    """Return the names in the pickles that a file of before torch 1.6 starts with; nothing is built."""
    with path.open("rb") as file:
        pickles = [list(pickletools.genops(file)) for _ in range(_LEGACY_PICKLES)]
    return [
        str(value).replace(" ", ".")
        for operations in pickles
        for operation, value, _ in operations
        if operation.name == "GLOBAL"
    ]


def _is_torchscript(path: Path) -> bool:
    """Tell a TorchScript archive by the member that torch itself tells it by."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _tensors(value: Any, path: Path) -> dict[str, Tensor]:
    import torch

    while isinstance(value, Mapping):
        wrapper = next((key for key in _WRAPPERS if isinstance(value.get(key), Mapping)), None)
        if wrapper is None:
            break
        value = value[wrapper]
    if not isinstance(value, Mapping):
        raise UserError(f"weights file {path} must hold named tensors, got {type(value).__name__}.")
    others = [str(key) for key, item in value.items() if not isinstance(item, torch.Tensor)]
    if others or not value:
        found = f"entries that are none: {', '.join(others[:5])}" if others else "nothing"
        raise UserError(
            f"weights file {path} must hold named tensors only, found {found}. Save the state dict alone."
        )
    if all(str(key).startswith("module.") for key in value):
        return {str(key).removeprefix("module."): item for key, item in value.items()}
    return {str(key): item for key, item in value.items()}
