"""Find the files of a model, check that they are the right ones, remember their hashes.

Guarantees: a file whose card pins a hash is used only if it has that hash; nothing is downloaded when
`offline`. Where a publisher gives no hash the one found is returned, so that it enters the identity of every
result. What is in the files is read by :mod:`evaluator.models.state`.

Where a file is looked for, in this order: the package itself (shipped models), an absolute path, then in each
folder ``<folder>/<model>/<file>`` and - for files that do not come from a hub, whose names are unique -
``<folder>/<file>``, then the Hugging Face cache, then the hub. Hub files are all called ``model.safetensors``
or the like, and one model's must never be taken for another's. Where weights are several files, the others are looked for
beside the first and then in the same places.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from evaluator.models.card import ModelCard, WeightsFile
from evaluator.models.sharded import files_of, is_index
from shards.errors import UserError
from shards.files import sha256_file, write_json

#: The same weights under the name they have in repositories that were made before safetensors.
_OLDER_NAMES = {
    "open_clip_model.safetensors": "open_clip_pytorch_model.bin",
    "model.safetensors": "pytorch_model.bin",
}


class MissingWeights(UserError):
    """The weights of a model are not on this machine; other models can go on."""


@dataclass(frozen=True)
class LocatedWeights:
    """Weights that were found and checked.

    Attributes
    ----------
    path
        The file; None for weights that are drawn at random.
    sha256
        Identity of the weights: the file's hash, of several files the hash of theirs in order, or ``"random:<seed>"``.
    tokenizer, tokenizer_sha256
        The text tower's tokenizer file and its hash; None where the card names none, or it is not here: image features
        do without.
    others
        The other files of the weights, absolute, in the card's order.
    """

    path: Path | None
    sha256: str
    tokenizer: Path | None = None
    tokenizer_sha256: str | None = None
    others: tuple[Path, ...] = ()


def locate(
    card: ModelCard, folders: Sequence[Path] = (), *, offline: bool = True, hashes: Path | None = None
) -> LocatedWeights:
    """Find and check a model's weights.

    Parameters
    ----------
    card
        The model.
    folders
        Where the user keeps weights.
    offline
        False allows a download from the Hugging Face hub.
    hashes
        JSON file that remembers hashes of files that have not changed (size, modification time, inode); made
        if absent. None: every call reads the whole file.

    Raises
    ------
    MissingWeights
        If they are nowhere: names what is expected, where it was looked for and where to get it.
    UserError
        If a file is there but has another hash than the card says.
    """
    seed = card.options.get("random_seed")
    if seed is not None:
        return LocatedWeights(None, f"random:{seed}")
    first = WeightsFile(card.weights.file or "", card.weights.sha256)
    path, found = _checked(card, first, None, folders, offline=offline, hashes=hashes)
    rest = [
        _checked(card, other, path.parent, folders, offline=offline, hashes=hashes)
        for other in (*card.weights.others, *_listed(path, card))
    ]
    if rest:
        found = hashlib.sha256("\n".join([found, *(sha256 for _, sha256 in rest)]).encode()).hexdigest()
    tokenizer = _tokenizer(card, path, folders, offline=offline)
    tokenizer_sha256 = None if tokenizer is None else _sha256(tokenizer, hashes)
    return LocatedWeights(
        path, found, tokenizer, tokenizer_sha256, tuple(other.absolute() for other, _ in rest)
    )


def require_tokenizer(card: ModelCard, weights: LocatedWeights) -> None:
    """Refuse a model whose texts cannot be read.

    Raises
    ------
    MissingWeights
        If the card names a tokenizer's file and it was not found.
    """
    wanted = card.tokenizer
    if wanted is None or weights.tokenizer is not None:
        return
    fetched = f" With a network, 'fairray models fetch {card.name}' does this." if wanted.hub else ""
    raise MissingWeights(
        f"tokenizer {wanted.file!r} of model {card.name!r} not found, so texts cannot be read; image features work without "
        f"it. Get it from {wanted.page} and put it beside the weights or into a folder of weights as "
        f"'{card.name}/{wanted.file}'.{fetched}"
    )


def _tokenizer(card: ModelCard, path: Path, folders: Sequence[Path], *, offline: bool) -> Path | None:
    """Return the tokenizer's file: in a folder of weights, beside the weights, in the hub's cache, or from the hub."""
    wanted = card.tokenizer
    if wanted is None:
        return None
    places = [*(Path(folder) / card.name / wanted.file for folder in folders), path.parent / wanted.file]
    here = next((place for place in places if place.is_file()), None)
    if here is not None:
        return here
    if wanted.hub is None:
        return None
    from huggingface_hub import hf_hub_download

    try:
        return Path(
            hf_hub_download(wanted.hub, wanted.file, revision=wanted.revision, local_files_only=offline)
        )
    except Exception:  # noqa: BLE001 - transports have errors of their own; all mean: not to be had
        return None  # whoever needs texts asks by require_tokenizer


def _listed(path: Path, card: ModelCard) -> list[WeightsFile]:
    """Return the files that an index lists for the card's part of the weights."""
    return [WeightsFile(name) for name in files_of(path, card.weights.part)] if is_index(path) else []


def _checked(
    card: ModelCard,
    wanted: WeightsFile,
    beside: Path | None,
    folders: Sequence[Path],
    *,
    offline: bool,
    hashes: Path | None,
) -> tuple[Path, str]:
    """Return one file of the weights and its hash; see :func:`locate` for what is raised."""
    looked = [beside / wanted.file] if beside is not None else []
    looked += _local_places(card, wanted.file, folders)
    path = next((place for place in looked if place.is_file()), None)
    path = path or _from_hub(card, wanted, offline=offline)
    if path is None:
        raise MissingWeights(_missing(card, wanted, looked, offline=offline))
    found = _sha256(path, hashes)
    if wanted.sha256 is not None and found != wanted.sha256:
        raise UserError(
            f"weights of model {card.name!r}: {path} has sha256 {found}, expected {wanted.sha256}. "
            f"The file is damaged or another release; get it again{_from_page(card, wanted)}."
        )
    return path, found


def _local_places(card: ModelCard, name: str, folders: Sequence[Path]) -> Iterator[Path]:
    if not name:
        return
    if card.weights.shipped:
        yield Path(str(files("evaluator.models"))) / "tiny" / name
        return
    if Path(name).is_absolute():
        yield Path(name)
        return
    for folder in folders:
        for file in _names(card, name):
            yield Path(folder) / card.name / file
            if card.weights.hub is None:
                yield Path(folder) / file


def _names(card: ModelCard, name: str) -> list[str]:
    older = _OLDER_NAMES.get(name) if card.weights.hub else None
    return [name, older] if older else [name]


def _from_hub(card: ModelCard, wanted: WeightsFile, *, offline: bool) -> Path | None:
    """Return the file from the local hub cache or, if allowed, from the hub; None when it cannot be had.

    Raises
    ------
    MissingWeights
        If the hub was asked and refused or could not be reached.
    """
    weights = card.weights
    if weights.hub is None or not wanted.file:
        return None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    for name in _names(card, wanted.file):
        try:
            return Path(hf_hub_download(weights.hub, name, revision=weights.revision, local_files_only=True))
        except (EntryNotFoundError, OSError):
            continue  # not in the cache; the caller reports it when no other place has it
    if offline:
        return None
    answers: list[Exception] = []
    for name in _names(card, wanted.file):
        try:
            return Path(hf_hub_download(weights.hub, name, revision=weights.revision, local_files_only=False))
        except Exception as error:  # noqa: BLE001 - transports have errors of their own; all mean: not to be had
            answers.append(error)
    cause = (str(answers[0]).strip() or type(answers[0]).__name__).splitlines()[0]
    raise MissingWeights(
        f"{_missing(card, wanted, [], offline=offline)} The hub answered: {cause}"
    ) from answers[0]


def _missing(card: ModelCard, file: WeightsFile, looked: Sequence[Path], *, offline: bool) -> str:
    weights = card.weights
    places = [str(place) for place in looked]
    if weights.hub is not None:
        places.append(f"the Hugging Face cache ({weights.hub})")
    gated = " (gated: its agreement must be accepted first)" if weights.gated else ""
    wanted = f"{file.file!r}" if file.file else "(no file named)"
    all_files = [weights.file, *(other.file for other in weights.others)]
    if weights.others:
        wanted += f" (one of {len(all_files)}: {', '.join(map(str, all_files))})"
    advice = (
        f"Get it{_from_page(card, file)}, licence: {card.licence}{gated}, and put it into a folder of weights, "
        "or name its absolute path."
    )
    if weights.hub is not None and offline:
        advice += f" With a network, 'fairray models fetch {card.name}' does this."
    searched = ", ".join(places) or "no folder given"
    return f"weights {wanted} of model {card.name!r} not found; looked in: {searched}. {advice}"


def _from_page(card: ModelCard, wanted: WeightsFile) -> str:
    page = (
        wanted.page
        or card.weights.page
        or (f"https://huggingface.co/{card.weights.hub}" if card.weights.hub else None)
    )
    return f" from {page}" if page else ""


def _sha256(path: Path, remembered: Path | None) -> str:
    """Return a file's hash, from memory if size, modification time and inode are those of the last time."""
    if remembered is None:
        return sha256_file(path)
    real = path.resolve()
    stat = real.stat()
    now = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    known = _read_hashes(remembered)
    entry = known.get(str(real))
    if isinstance(entry, dict) and entry.get("stat") == now:
        return str(entry["sha256"])
    found = sha256_file(real)
    write_json(remembered, {**known, str(real): {"stat": now, "sha256": found}})
    return found


def _read_hashes(path: Path) -> dict[str, Any]:
    """Read the memory of hashes; a damaged one is only a memory and is made anew."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
