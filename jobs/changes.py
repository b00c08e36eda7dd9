"""What a new run says otherwise than the tables of the last one did: claims on gaps, by question and model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from evaluator.measure import MeasureSettings

_WHERE = ("dataset", "target", "structure", "prompt", "model", "usage", "mitigation", "seed", "attribute")


def claim_changes(before: Path, gaps: pd.DataFrame, settings: MeasureSettings) -> tuple[str, ...]:
    """Compare the claims on a study's primary gaps with those of an earlier table.

    Parameters
    ----------
    before
        The gaps table that was written last. Where there is none, or it is of another version, nothing is compared.
    gaps
        The new table, p-values corrected.
    settings
        Both tables are judged by these, so that a change is one of the numbers.

    Returns
    -------
    tuple of str
        A line for each claim that is another one now; claims that only one of the tables has are left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from evaluator.tables import GAPS

    try:
        table = pq.read_table(before, partitioning=None)
    except (FileNotFoundError, pa.ArrowInvalid):
        return ()
    if table.schema.remove_metadata() != GAPS:
        return ()
    old, new = _claims(table.to_pandas(), settings), _claims(gaps, settings)
    return tuple(
        f"{_named(key)}: {old[key]} before, {new[key]} now"
        for key in new
        if old.get(key, new[key]) != new[key]
    )


def _claims(gaps: pd.DataFrame, settings: MeasureSettings) -> dict[tuple[Any, ...], str]:
    """Return the claim on every primary gap by what it is about."""
    from evaluator.statistics.findings import findings

    found = findings(
        gaps, alpha=settings.alpha, relevant=settings.relevant_gap, permutations=settings.permutations
    )
    primary = found[found["primary"]]
    keys = primary[list(_WHERE)].astype(object).where(primary[list(_WHERE)].notna(), None)
    return dict(zip(keys.itertuples(index=False, name=None), primary["finding"], strict=True))


def _named(key: tuple[Any, ...]) -> str:
    *where, seed, attribute = key
    shown = [str(part) for part in where if part is not None]
    return ", ".join([*shown, *([f"seed {int(seed)}"] if seed else []), f"by {attribute}"])
