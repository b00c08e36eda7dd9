"""Reasons as people read them: the codes that tables carry, as words.

A reason in a table is a code (``one_class``), a code with what it is about (``too_small: 6 subjects``), or words; several are
joined by ``"; "``. Tables keep the codes, so that they can be counted; sentences use :func:`reason_words`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

#: Codes of which what follows them says all.
_TOLD_BY_REST = (
    "all_unknown", "biased_upward", "labels_only", "missing_class", "no_baseline", "no_direction", "no_factor", "no_gap",
    "no_rest", "no_samples", "no_value", "no_variation", "single_arm", "single_group", "single_level", "single_model",
    "single_unit",
)  # fmt: skip
_ALONE: Mapping[str, str] = {
    "absent": "no samples",
    "all_unknown": "no subject has a known value",
    "no_factor": "no factor that can be told apart",
    "no_label": "no true class",
    "no_negatives": "no negative samples",
    "no_permutations": "no permutations were made",
    "no_positives": "no positive samples",
    "no_replicates": "no bootstrap replicates were drawn",
    "no_samples": "no sample could be measured",
    "no_score": "no answer of the model",
    "no_target": "no true class",
    "no_true_class": "no true class",
    "no_value": "no value",
    "no_variation": "all values are equal",
    "one_class": "all samples are of one class",
    "one_subject": "one subject only",
    "single_arm": "nothing to compare with",
    "single_group": "fewer than two groups can be compared",
    "suppressed": "too small",
}
_WITH_REST: Mapping[str, str] = {
    "undefined_permutations": "undefined in {} permutations",
    "undefined_replicates": "undefined in {} replicates",
}


def reason_words(reason: str) -> str:
    """Return a reason, or a status, without codes; the same is said once.

    Examples
    --------
    >>> reason_words("single_group: 1 of 2 groups can be compared, two are needed")
    '1 of 2 groups can be compared, two are needed'
    >>> reason_words("no interval: one_class"), reason_words("too_small: 6 subjects (minimum 20)")
    ('no interval: all samples are of one class', 'too small: 6 subjects (minimum 20)')
    """
    parts = (_part(part) for part in reason.split("; "))
    return "; ".join(dict.fromkeys(part for part in parts if part))


def _part(text: str) -> str:
    head, colon, rest = text.partition(": ")
    if not colon:
        return _ALONE.get(text) or (text.replace("_", " ") if _CODE.fullmatch(text) else text)
    if head in _TOLD_BY_REST:
        return _part(rest)
    if head in _WITH_REST:
        return _WITH_REST[head].format(rest)
    # Words may stand before a code as well: "no interval: one_class".
    known = head.replace("_", " ") if _CODE.fullmatch(head) else head
    return f"{known}: {_part(rest)}"
