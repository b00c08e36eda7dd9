"""Reads pickled predictions without running anything that is in them.

Guarantee: only plain containers, numbers, texts and NumPy arrays of numbers can come out. A pickle asks for code by name; those
names are looked up in a fixed table here, and every other one, torch's included, is refused before anything is called.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_LIMIT = 2 * 1024**3
_MALFORMED = (
    pickle.UnpicklingError, ValueError, TypeError, LookupError, EOFError, AttributeError, OverflowError, MemoryError
)  # fmt: skip


class _Dtype:
    """Stands for ``numpy.dtype``: a number or text type by name. NumPy's own would believe any state that it is given."""

    def __init__(self, spelled: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(spelled, str) or np.dtype(spelled).kind not in "biufSU":
            raise pickle.UnpicklingError(f"it holds an array of {spelled!r}")
        self.kind = np.dtype(spelled)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("it holds an array of records")
        self.kind = self.kind.newbyteorder(order) if order in ("<", ">") else self.kind


class _Array:
    """Stands for ``numpy.ndarray``: numbers out of bytes, and nothing else."""

    def __init__(self) -> None:
        self.values: np.ndarray[Any, Any] = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.values = _numbers(dtype, data).reshape(shape, order="F" if fortran else "C")


def _numbers(dtype: Any, data: Any) -> np.ndarray[Any, Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError("it holds an array of objects")
    return np.frombuffer(data, dtype.kind)


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _scalar(dtype: Any, data: Any = None) -> Any:
    return _numbers(dtype, data)[0]


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _latin(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


_ALLOWED = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Dtype, ("_codecs", "encode"): _latin}
for _home in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_home}.multiarray", "_reconstruct"] = _reconstruct
    _ALLOWED[f"{_home}.multiarray", "scalar"] = _scalar
    _ALLOWED[f"{_home}.numeric", "_frombuffer"] = _from_buffer


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to data outside the file")


def read_pickle(path: Path) -> pd.DataFrame:
    """Read FairMedFM's ``predictions.pkl``: a dict with `logits` ``[n, C]`` and `label` ``[n]``.

    Returns
    -------
    DataFrame
        Columns `label` and ``logit_0``, ``logit_1``, ... (`logit` alone where there is one per row).

    Raises
    ------
    UserError
        If the file holds anything but containers, numbers, texts and NumPy arrays, or no such dict.
    """
    if path.stat().st_size > _LIMIT:
        raise UserError(f"{path} must be below 2 GiB to be read as a pickle. Save it as Parquet.")
    try:
        with path.open("rb") as file:
            content = _Reader(file).load()
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        AttributeError,
        OverflowError,
    ) as error:
        raise UserError(
            f"{path} is not read, because a pickle can run code and this one is not just numbers: {error}. Save the predictions"
            " as CSV or Parquet."
        ) from None
    return _frame(path, content)


def _frame(path: Path, content: Any) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(content, dict) or not {"logits", "label"} <= set(map(str, content)):
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise UserError(
            f"{path} must hold a dict with 'logits' and 'label' as FairMedFM writes it (found: {found})."
        )
    logits, label = _values(content["logits"]), _values(content["label"]).squeeze()
    if (
        logits.dtype.kind not in "fiu"
        or label.ndim != 1
        or logits.ndim not in (1, 2)
        or len(logits) != len(label)
    ):
        raise UserError(
            f"{path} must hold logits [n, classes] and label [n], got shapes {logits.shape} and {label.shape}."
        )
    if logits.ndim == 1:
        return pd.DataFrame({"label": label, "logit": logits})
    return pd.DataFrame({"label": label, **{f"logit_{c}": logits[:, c] for c in range(logits.shape[1])}})


def _values(held: Any) -> np.ndarray[Any, Any]:
    """Return an array, or a list of numbers as one; anything else has no numbers and no shape."""
    if isinstance(held, _Array):
        return held.values
    numbers = isinstance(held, list) and all(isinstance(value, int | float | np.number) for value in held)
    return np.asarray(held) if numbers else np.zeros((), object)
