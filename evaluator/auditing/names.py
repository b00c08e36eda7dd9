"""How columns and values are usually called, and how names are compared.

Names are guesses; every guess is said, and every one can be overruled by an option. Nothing here looks at a table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

#: Spellings of "not known", compared without case and surrounding blanks. Everything else is a value.
UNKNOWN_SPELLINGS = frozenset(
    {
        "", "na", "n/a", "nan", "<na>", "null", "none", "unknown", "unk", "not reported", "not available",
        "not specified", "unspecified", "not recorded", "missing", "undetermined", "?", "-", ".",
    }
)  # fmt: skip

SUBJECT = (
    "subject_id", "subject", "patient_id", "patient", "participant_id", "participant", "person_id", "person",
    "mrn", "pid", "eid",
)  # fmt: skip
#: Taken only where no column of :data:`SUBJECT` is there: what several samples share, though it is no person.
SUBJECT_STAND_INS = ("lesion_id", "case_id", "eye_id")
SAMPLE = (
    "sample_id", "sample", "image_id", "image", "img_id", "dicom_id", "image_path", "filename", "file_name", "file",
    "path", "uid", "study_id", "id", "row_id", "index", "unnamed_0",
)  # fmt: skip
MODEL = ("model", "model_name", "classifier", "algorithm", "network", "method")
SPLIT = ("split", "subset", "partition", "set", "phase", "fold")
SPLIT_VALUES = {
    "train": ("train", "training", "tr"),
    "val": ("val", "valid", "validation", "dev", "tune", "tuning"),
    "test": ("test", "testing", "te", "holdout", "held-out", "heldout", "evaluation", "eval"),
}
TARGET_NAMES = ("target", "task", "finding", "label_name", "pathology")
CLASS_NAMES = ("class", "class_name", "score_class", "category")
LABEL = (
    "label", "labels", "y_true", "y", "true_label", "true_class", "truth", "ground_truth", "groundtruth", "gt", "true",
    "actual", "reference", "reference_standard",
)  # fmt: skip
LABEL_SECOND = ("target", "diagnosis", "dx", "outcome", "class")
SCORE = (
    "score", "scores", "prob", "probs", "probability", "probabilities", "proba", "p", "y_score", "y_prob", "y_proba",
    "y_pred_proba", "pred_prob", "pred_proba", "pred_score", "predicted_probability", "confidence", "risk", "output",
    "logit", "logits",
)  # fmt: skip
PRED = (
    "pred", "prediction", "predictions", "predicted", "y_pred", "y_hat", "yhat", "predicted_label", "predicted_class",
    "pred_label", "pred_class", "decision",
)  # fmt: skip
#: Columns of masks' scores, by the metric they hold.
MASKS = {
    "dice": ("dice", "dsc", "dice_score", "dice_coefficient"),
    "iou": ("iou", "jaccard", "jaccard_index"),
    "hd95_mm": ("hd95_mm",),
    "hd95_px": ("hd95_px",),
    "assd_mm": ("assd_mm",),
    "assd_px": ("assd_px",),
    "nsd": ("nsd", "surface_dice"),
}
ATTRIBUTES = (
    "sex", "gender", "age", "age_years", "age_group", "anchor_age", "race", "ethnicity", "race_ethnicity", "skin_tone",
    "skin_type", "fitzpatrick", "fitzpatrick_skin_type", "fitzpatrick_scale", "monk_skin_tone", "language",
    "preferred_language", "insurance", "marital_status", "religion", "sensitive", "sensitive_attribute",
    "sensitive_feature", "protected",
)  # fmt: skip
#: Bins of ages that were given as numbers without bins.
AGE_BINS = (40.0, 60.0, 80.0)
#: What a class is called when it is the finding, and when it is its absence.
POSITIVE = frozenset(
    {"1", "true", "yes", "y", "positive", "pos", "present", "disease", "diseased", "abnormal", "malignant", "sick", "case"}
)  # fmt: skip
NEGATIVE = frozenset(
    {
        "0", "false", "no", "n", "negative", "neg", "absent", "normal", "benign", "healthy", "control", "no finding",
        "no disease",
    }
)  # fmt: skip


class Affixed(NamedTuple):
    """A column whose name is a known word and something else: ``score_resnet`` is ``score`` and ``resnet``."""

    column: str
    word: str
    rest: str


def normal(name: str) -> str:
    """Return a name in lower case, its words joined by underscores.

    Examples
    --------
    >>> normal("PatientID"), normal("y true"), normal("Dice-Score")
    ('patient_id', 'y_true', 'dice_score')
    """
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^\w]+", "_", split).strip("_").lower()


def same(first: str, second: str) -> bool:
    """Return whether two names are the same but for case, blanks and underscores; no name is the same as nothing."""
    letters = normal(first).replace("_", "")
    if not letters:  # nothing but signs, or the nameless column of row numbers that pandas writes
        return first == second != ""
    return letters == normal(second).replace("_", "")


def is_unknown(text: str) -> bool:
    """Return whether a value is one of :data:`UNKNOWN_SPELLINGS`."""
    return text.strip().lower() in UNKNOWN_SPELLINGS


def named(columns: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the columns that are called like one of the words, in the order of the words."""
    return [column for word in words for column in columns if normal(column) == word]


def affixed(columns: Sequence[str], words: Sequence[str]) -> list[Affixed]:
    """Return the columns that are one of the words with something before or after it, in their order.

    Examples
    --------
    >>> affixed(["score_A", "nodule_prob", "prob0", "age"], ["score", "prob"])
    [Affixed(column='score_A', word='score', rest='A'), Affixed(column='nodule_prob', word='prob', rest='nodule'), \
Affixed(column='prob0', word='prob', rest='0')]
    """
    longest_first = sorted(words, key=len, reverse=True)
    found = []
    for column in columns:
        if normal(column) in words:
            continue
        parts = (part for word in longest_first if (part := _split(column, word)) is not None)
        first = next(parts, None)
        if first is not None:
            found.append(first)
    return found


def _split(column: str, word: str) -> Affixed | None:
    spelled = "[ _.-]?".join(re.escape(part) for part in word.split("_"))
    after = re.fullmatch(rf"(?i:{spelled})(?:[ _.:-]+(.+)|(\d+))", column)
    if after:
        return Affixed(column, word, (after[1] or after[2]).strip())
    before = re.fullmatch(rf"(.+?)[ _.:-]+(?i:{spelled})", column) if len(word) > 1 else None
    return Affixed(column, word, before[1].strip()) if before else None


def as_column(name: str, columns: Sequence[str]) -> str:
    """Return the column that an attribute's name means in any case; the name itself where there is none, or are several.

    Examples
    --------
    >>> as_column("Sex", ["id", "sex"]), as_column("sex", ["Sex", "SEX"])
    ('sex', 'sex')
    """
    alike = [column for column in columns if column.casefold() == name.casefold()]
    return alike[0] if name not in columns and len(alike) == 1 else name
