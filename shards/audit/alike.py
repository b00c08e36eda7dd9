"""Pictures that are there twice: the same pixels, or such that look alike.

Equal pixels are found by their sha256. Look-alikes are pictures whose perceptual hashes differ in at most
:data:`DISTANCE` of 64 bits and at most :data:`FINE_DISTANCE` of 256. The 64 bits alone take many pictures of different
people for one another: of the 50 million pairs of different lesions of HAM10000, 326 pass them, and one of these the
256 bits as well (two photographs of one lesion under two ids; the next pairs differ in 34 bits and more). Of its 10,015
images, saved again in half or double the size, as JPEG of quality 60, or brightened, at least 99.5 % are found; of
images of which 1 % was cut off at each side, 73 %. Copies of pictures so smooth that their finer frequencies are noise
may be missed.

The search is exact and does not compare all with all: two hashes that differ in at most d bits agree in one of d + 1 bands of
bits, so only pictures that share a band are compared. Memory is a few arrays of the number of pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shards.audit.findings import Alike, Conflict, Duplicates, Pair

if TYPE_CHECKING:
    import pandas as pd

#: Bits in which the hashes of look-alikes may differ: see the module's text.
DISTANCE, FINE_DISTANCE = 4, 20
#: A hash with fewer bits set than this, or all but as few, is of a picture with hardly any structure; half of them are set
#: otherwise.
_FEWEST_BITS = 16
_EXAMPLES = 10
#: Comparisons after which the search is given up, and pairs that are kept: a minute, and some megabytes.
_MOST_COMPARISONS = 5_000_000_000
_MOST_PAIRS = 1_000_000


def find_duplicates(frame: pd.DataFrame, targets: Sequence[str]) -> Duplicates:
    """Find pictures that are there more than once.

    Parameters
    ----------
    frame
        One row per sample: sample_id, subject_id, split, the look and the targets.
    targets
        Columns of classes.
    """
    seen = frame[frame["phash"].notna()].reset_index(drop=True)
    sizes = seen.groupby("pixels_sha256")["sample_id"].transform("size")
    repeated = seen[sizes > 1].sort_values("sample_id")
    conflicts = {target: _conflicting(repeated, target) for target in targets}
    examples = (conflict for target, rows in conflicts.items() for conflict in _conflicts(rows, target))
    near, complete = _near(seen.drop_duplicates("pixels_sha256", ignore_index=True))
    return Duplicates(
        same=_same(repeated),
        near=near,
        near_distance=DISTANCE,
        near_complete=complete,
        within_subjects=int(repeated.duplicated(["pixels_sha256", "subject_id"]).sum()),
        blank=len(frame) - len(seen),
        conflicts=sum(rows["pixels_sha256"].nunique() for rows in conflicts.values()),
        conflict_examples=tuple(itertools.islice(examples, _EXAMPLES)),
    )


def _same(repeated: pd.DataFrame) -> Alike:
    """Count pairs of equal pixels without listing them: all pairs of a picture, less those of one subject."""
    pictures = repeated.groupby("pixels_sha256", sort=False)
    shared = repeated[pictures["subject_id"].transform("nunique") > 1]
    splits = shared.groupby("pixels_sha256", sort=False)["split"].nunique()
    first = [*splits.index[splits > 1], *splits.index[splits == 1]]
    return Alike(
        _pairs_across(shared, "subject_id"),
        _pairs_across(shared, "split"),
        len(shared),
        tuple(_example(shared[shared["pixels_sha256"] == picture]) for picture in first[:_EXAMPLES]),
    )


def _pairs_across(frame: pd.DataFrame, column: str) -> int:
    of_picture = frame.groupby("pixels_sha256").size().to_numpy(np.int64)
    of_part = frame.groupby(["pixels_sha256", column]).size().to_numpy(np.int64)
    return int((of_picture @ of_picture - of_part @ of_part) // 2)


def _example(rows: pd.DataFrame) -> Pair:
    """Pick two samples of different subjects, of different splits if there are such."""
    first = rows.iloc[0]
    others = rows[rows["subject_id"] != first["subject_id"]]
    apart = others[others["split"] != first["split"]]
    return _pair(first, (apart if len(apart) else others).iloc[0], 0)


def _pair(first: Any, second: Any, distance: int) -> Pair:
    def both(name: str) -> tuple[str, str]:
        return str(first[name]), str(second[name])

    return Pair(both("sample_id"), both("subject_id"), both("split"), distance)


def _conflicting(repeated: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the samples whose picture has several known classes of a target."""
    known = repeated[repeated[target].notna()]
    return known[known.groupby("pixels_sha256")[target].transform("nunique") > 1]


def _conflicts(rows: pd.DataFrame, target: str) -> Iterator[Conflict]:
    for picture in rows["pixels_sha256"].unique():
        mine = rows[rows["pixels_sha256"] == picture]
        yield Conflict(
            target, tuple(map(str, mine["sample_id"].head(_EXAMPLES))), tuple(sorted(set(mine[target])))
        )


def _near(pictures: pd.DataFrame) -> tuple[Alike, bool]:
    hashes = _numbers(pictures["phash"])[:, 0]
    bits = np.bitwise_count(hashes)
    told = np.flatnonzero((bits >= _FEWEST_BITS) & (bits <= 64 - _FEWEST_BITS))
    search = _Search(pictures.iloc[told], hashes[told])
    found = list(search.run())
    first, second = (told[np.concatenate([part[k] for part in found] or [told[:0]])] for k in (0, 1))
    split = pictures["split"].to_numpy(object)
    order = np.lexsort((second, first, split[first] == split[second]))[:_EXAMPLES]
    examples = [
        _pair(pictures.iloc[i], pictures.iloc[j], int(np.bitwise_count(hashes[i] ^ hashes[j])))
        for i, j in zip(first[order], second[order], strict=True)
    ]
    samples = len(np.unique(np.concatenate([first, second])))
    return Alike(search.pairs, search.across_splits, samples, tuple(examples)), search.complete


class _Search:
    """The search for look-alikes of different subjects; counts while it runs."""

    def __init__(self, pictures: pd.DataFrame, hashes: NDArray[np.uint64]) -> None:
        import pandas as pd

        self.pairs = self.across_splits = self._comparisons = self._kept = 0
        self.complete = True
        self._hashes = hashes
        self._subject = pd.factorize(pictures["subject_id"])[0]
        self._split = pd.factorize(pictures["split"])[0]
        self._fine = _numbers(pictures["phash_fine"])
        self._bands = _bands(hashes)

    def run(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the places of pairs, each pair once and its lower place first."""
        for number, band in enumerate(self._bands):
            for first, second in self._sweep(band):
                # A pair that agrees in an earlier band, too, was found there.
                new = np.ones(len(first), bool)
                for earlier in self._bands[:number]:
                    new &= earlier[first] != earlier[second]
                first, second = first[new], second[new]
                self.pairs += len(first)
                self.across_splits += int((self._split[first] != self._split[second]).sum())
                if self._kept < _MOST_PAIRS:
                    self._kept += len(first)
                    yield np.minimum(first, second), np.maximum(first, second)

    def _sweep(self, band: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Compare the pictures that share a band value with each other.

        All pictures take one step at a time: with their next neighbour, the one after that, and so on; a picture whose
        neighbour has another value is done.
        """
        order = np.argsort(band, kind="stable")
        ends = np.searchsorted(band[order], band[order], side="right")
        active, step = np.arange(len(order)), 0
        while len(active) and self.complete:
            step += 1
            active = active[ends[active] > active + step]
            first, second = order[active], order[active + step]
            alike = self._alike(first, second)
            if len(alike):
                yield first[alike], second[alike]
            self._comparisons += len(active)
            self.complete = self._comparisons <= _MOST_COMPARISONS

    def _alike(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return which of the pairs look alike and are of different subjects."""
        some = np.flatnonzero(np.bitwise_count(self._hashes[first] ^ self._hashes[second]) <= DISTANCE)
        i, j = first[some], second[some]
        fine = np.bitwise_count(self._fine[i] ^ self._fine[j]).sum(axis=1)
        alike: NDArray[np.intp] = some[(fine <= FINE_DISTANCE) & (self._subject[i] != self._subject[j])]
        return alike


def _numbers(texts: pd.Series) -> NDArray[np.uint64]:
    """Return hexadecimal digits as ``[n, digits / 16]`` numbers."""
    data = np.frombuffer(bytes.fromhex("".join(texts)), ">u8").astype(np.uint64)
    return data.reshape(len(texts), -1) if len(texts) else np.zeros((0, 1), np.uint64)


def _bands(hashes: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Cut hashes into :data:`DISTANCE` + 1 numbers, each of as telling bits as the others.

    Some bits are nearly the same in all pictures of one kind (chests are bright in the middle), so bits are dealt out in
    the order of how evenly they are set.
    """
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    order = np.argsort(np.abs(bits.mean(axis=0) - 0.5), kind="stable") if len(hashes) else np.arange(64)
    bands = []
    for start in range(DISTANCE + 1):
        mine = bits[:, order[start :: DISTANCE + 1]].astype(np.int64)
        bands.append(mine @ (np.int64(1) << np.arange(mine.shape[1])))
    return bands
