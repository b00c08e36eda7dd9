"""Weights that a publisher cut into several files with an index, and models that are only a part of such weights.

An index (``model.safetensors.index.json``, ``pytorch_model.bin.index.json``) says in which file each tensor lies. Where a card
wants only a part (a vision tower out of a language model), files without any tensor of that part need not be there, and of the
others only its tensors are read.

Guarantee: a part is whole, because every name that the index lists for it must be in the file it is listed for. Names in an
index come from outside: one that leaves the index's folder is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evaluator.models.state import load_state
from shards.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

INDEX_SUFFIX = ".index.json"


def is_index(path: Path) -> bool:
    """Tell whether a file is an index of several by its name."""
    return path.name.endswith(INDEX_SUFFIX)


def files_of(index: Path, part: str = "") -> tuple[str, ...]:
    """Return the names of the files that hold tensors of a part, in order of name.

    Parameters
    ----------
    index
        The index; its files lie beside it.
    part
        What the names of the part's tensors start with; empty for all.

    Raises
    ------
    UserError
        If the index is damaged, lists no tensor of the part, or names files outside of its folder.
    """
    return tuple(sorted(set(_listed(index, part).values())))


def load_part(path: Path, part: str = "", others: Sequence[Path] = ()) -> dict[str, Tensor]:
    """Read the tensors of a part, from an index and its files or from one file with everything.

    Parameters
    ----------
    path
        An index, or a file that :func:`evaluator.models.state.load_state` reads.
    part
        What the names of the part's tensors start with; taken off. Empty for all.
    others
        The index's files, where :func:`evaluator.models.weights.locate` found them; beside the index by default.

    Returns
    -------
    dict of str to Tensor
        On the CPU.

    Raises
    ------
    UserError
        If a file is damaged or missing, or a tensor is not where the index says.
    """
    if not is_index(path):
        found = load_state(path)
        return {name.removeprefix(part): found[name] for name in found if name.startswith(part)}
    places = {other.name: other for other in others}
    state: dict[str, Tensor] = {}
    listed = _listed(path, part)
    for file in sorted(set(listed.values())):
        place = places.get(file, path.parent / file)
        wanted = [name for name, own in listed.items() if own == file]
        state.update(_read(place, wanted))
    return {name.removeprefix(part): tensor for name, tensor in state.items()}


def _listed(index: Path, part: str) -> dict[str, str]:
    try:
        listed = json.loads(index.read_text())["weight_map"]
        own = {str(name): str(file) for name, file in listed.items() if name.startswith(part)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"index of weights {index} is damaged: expected an entry 'weight_map' with the file of every tensor. "
            "Get it again."
        ) from error
    outside = next((file for file in own.values() if file in ("", "..") or Path(file).name != file), None)
    if outside is not None:
        raise UserError(f"index of weights {index} names {outside!r}, which is no file beside it: refused.")
    if not own:
        raise UserError(
            f"index of weights {index} lists no tensor that starts with {part!r}; it is another model's."
        )
    return own


def _read(place: Path, wanted: Sequence[str]) -> dict[str, Tensor]:
    if place.suffix != ".safetensors":
        found = load_state(place)
        return {name: found[name] for name in _all_there(place, wanted, found)}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(place, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in _all_there(place, wanted, file.keys())}
    except (SafetensorError, FileNotFoundError) as error:
        raise UserError(f"weights file {place} is missing or damaged: {error}. Get it again.") from error


def _all_there(place: Path, wanted: Sequence[str], names: Iterable[str]) -> Sequence[str]:
    there = set(names)
    absent = [name for name in wanted if name not in there]
    if absent:
        raise UserError(
            f"weights file {place} lacks {len(absent)} tensors that its index lists: {', '.join(absent[:5])}. "
            "Index and file are of different releases; get both again."
        )
    return wanted
