"""What the chest X-ray datasets share: targets of findings, their prompts, labels read from reports, papers' groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from shards.card import GroupPreset, PromptSet, Target
from shards.datasets._published import FAIRMEDFM_AGES

if TYPE_CHECKING:
    import pandas as pd

FINDING_CLASSES = ("absent", "present")
HEALTH_CLASSES = ("diseased", "healthy")
#: Whether the publisher says that an image shows nothing; no finding itself, so outside of the family of findings.
NO_FINDING = Target("no_finding", FINDING_CLASSES, positive="present")
#: FairMedFM predicts health: its class 1 is ``No Finding``, and whatever is not that is class 0.
HEALTHY = Target("healthy_fairmedfm", HEALTH_CLASSES, positive="healthy")
#: Labels that the CheXpert labeller reads from reports, for CheXpert and for MIMIC-CXR, besides ``No Finding``.
LABELLER_FINDINGS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
LABELLER_COLUMNS = ("No Finding", *LABELLER_FINDINGS)

Uncertain = Literal["ignore", "zero", "one", "gloria"]
_CODES = {None: "absent", "0": "absent", "0.0": "absent", "1": "present", "1.0": "present"}
#: The five findings that GLoRIA is measured on; of others it says nothing.
_GLORIA = {
    "Atelectasis": "present",
    "Cardiomegaly": "absent",
    "Consolidation": "absent",
    "Edema": "present",
    "Pleural Effusion": "present",
}
UNCERTAIN_NOTES: Mapping[Uncertain, str] = {
    "ignore": "Uncertain labels (-1) are unknown: these images have no class of that finding.",
    "zero": "Uncertain labels (-1) count as absent.",
    "one": "Uncertain labels (-1) count as present.",
    "gloria": "Uncertain labels (-1) count as present for atelectasis, edema and pleural effusion, as absent for cardiomegaly "
    "and consolidation, as GLoRIA counts them; for other findings they are unknown.",
}
BLANK_NOTE = (
    "A finding that the report does not mention (an empty cell) counts as absent, as is usual with this labeller; "
    "columns <finding>_code hold the publisher's 1, 0, -1 or nothing."
)
AGE_PRESETS = (
    *FAIRMEDFM_AGES,
    GroupPreset(
        "sourget",
        "age",
        "age",
        ("<18", "18-25", "25-50", "50-65", "65-80", "80+"),
        bins=(18.0, 25.0, 50.0, 65.0, 80.0),
        note="The ages of Sourget et al. (arXiv 2507.21291), who have adults only; an edge is put into the older group here.",
    ),
)


def column(label: str) -> str:
    """Return the column of a publisher's label.

    Examples
    --------
    >>> column("Pleural Effusion"), column("Pleural_Thickening")
    ('pleural_effusion', 'pleural_thickening')
    """
    return label.lower().replace(" ", "_")


def finding_target(label: str) -> Target:
    """Return the two-class target of a finding, one of the family ``findings``."""
    return Target(column(label), FINDING_CLASSES, positive="present", family="findings")


def finding_prompts(label: str, phrase: str | None = None) -> tuple[PromptSet, ...]:
    """Return the texts for a finding.

    Parameters
    ----------
    label
        The publisher's label.
    phrase
        Words for it, where the label itself does not read well.
    """
    phrase = phrase or label.replace("_", " ")
    said = phrase.lower()
    return (
        # Sourget et al. (arXiv 2507.21291) ask for "Chest {label}" against "Chest No findings".
        PromptSet(column(label), "sourget-1", ("Chest {}",), (("No findings",), (phrase,))),
        PromptSet(
            column(label),
            "fairray-1",
            ("a chest X-ray of {}", "a radiograph of the chest with {}"),
            ((f"no {said}",), (said,)),
        ),
    )


def health_prompts(*, healthy: bool) -> tuple[PromptSet, ...]:
    """Return the texts of FairMedFM for ``no_finding`` and, if asked for, for :data:`HEALTHY`."""
    names = (("diseased",), ("normal",))
    targets = (NO_FINDING, HEALTHY) if healthy else (NO_FINDING,)
    return tuple(PromptSet(t.name, "fairmedfm-1", ("a chest X-ray of a {}",), names) for t in targets)


def labelled(table: pd.DataFrame, uncertain: Uncertain) -> pd.DataFrame:
    """Turn the labeller's codes into targets, next to the codes themselves.

    Parameters
    ----------
    table
        Columns :data:`LABELLER_COLUMNS` of texts: 1 present, 0 absent, -1 uncertain, None not mentioned.
    uncertain
        What -1 stands for; :data:`HEALTHY` takes it for diseased whatever is chosen, as FairMedFM does.

    Returns
    -------
    DataFrame
        A column per target and a column ``<target>_code`` per label. A code of another kind stays as it is, so that its row
        is rejected by name.
    """
    import pandas as pd

    made: dict[str, Any] = {}
    for label in LABELLER_COLUMNS:
        flat = {"zero": "absent", "one": "present"}.get(uncertain)
        minus = _GLORIA.get(label) if uncertain == "gloria" else flat
        classes: dict[str | None, str | None] = {**_CODES, "-1": minus, "-1.0": minus}
        made[column(label)] = [classes.get(code, code) for code in table[label]]
        made[f"{column(label)}_code"] = list(table[label])
    made[HEALTHY.name] = [HEALTH_CLASSES[code in ("1", "1.0")] for code in table["No Finding"]]
    return pd.DataFrame(made, index=table.index, dtype=object)


def values_by(table: pd.DataFrame, key: str, value: str) -> dict[str, tuple[str, ...]]:
    """Return the different values that each key has in a table of several rows per key, in their order.

    Examples
    --------
    >>> import pandas as pd
    >>> values_by(pd.DataFrame({"who": ["a", "a", "b"], "what": ["y", "x", None]}), "who", "what")
    {'a': ('y', 'x')}
    """
    known = table[[key, value]].dropna().drop_duplicates()
    found: dict[str, tuple[str, ...]] = {}
    for who, what in zip(known[key], known[value], strict=True):
        found[who] = (*found.get(who, ()), what)
    return found


def containing(values: Collection[str], part: str) -> tuple[str, ...]:
    """Return the values that contain a text, as a paper's loader compares them."""
    return tuple(value for value in values if part in value)
