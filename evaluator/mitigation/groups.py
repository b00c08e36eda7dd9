"""Which groups training samples are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from evaluator.mitigation.method import UNKNOWN
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.training.rows import TrainingRows


def groups_in(method: str, rows: TrainingRows) -> tuple[int, ...]:
    """Return the codes of the groups that training samples are in, ascending.

    Parameters
    ----------
    method
        Name of the mitigation that asks, for the message.
    rows
        Training rows.

    Raises
    ------
    UserError
        If no training sample's group is known.
    """
    codes = tuple(int(code) for code in np.unique(rows.groups) if code != UNKNOWN)
    if not codes:
        raise UserError(
            f"{method} uses the groups of training samples, and that of none is known. Check the attribute that 'mitigate' "
            "names, or leave the method out."
        )
    return codes
