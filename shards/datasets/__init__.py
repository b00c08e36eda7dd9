"""The datasets that can be converted: one module per publisher's layout, imported only when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

from shards.adapter import Adapter
from shards.errors import unknown_name

_ADAPTERS: Mapping[str, tuple[str, str]] = {
    "adni-15t": ("shards.datasets.adni_15t", "Adni15T"),
    "brset": ("shards.datasets.brset", "Brset"),
    "candi": ("shards.datasets.candi", "Candi"),
    "chexpert": ("shards.datasets.chexpert", "Chexpert"),
    "covid-ct-md": ("shards.datasets.covid_ct_md", "CovidCtMd"),
    "fairseg": ("shards.datasets.fairseg", "FairSeg"),
    "fairvision": ("shards.datasets.fairvision", "FairVision"),
    "fairvlmed": ("shards.datasets.fairvlmed", "FairVlMed"),
    "fitzpatrick17k": ("shards.datasets.fitzpatrick17k", "Fitzpatrick17k"),
    "gf3300": ("shards.datasets.gf3300", "Gf3300"),
    "ham10000": ("shards.datasets.ham10000", "Ham10000"),
    "ircadb": ("shards.datasets.ircadb", "Ircadb"),
    "kits23": ("shards.datasets.kits23", "Kits23"),
    "mimic-cxr": ("shards.datasets.mimic_cxr", "MimicCxr"),
    "montgomery": ("shards.datasets.montgomery", "Montgomery"),
    "nih-6x200": ("shards.datasets.nih_6x200", "Nih6x200"),
    "nih-cxr14": ("shards.datasets.nih_cxr14", "NihCxr14"),
    "oct-amd": ("shards.datasets.oct_amd", "OctAmd"),
    "ol3i": ("shards.datasets.ol3i", "Ol3i"),
    "papila": ("shards.datasets.papila", "Papila"),
    "phantom-ct": ("shards.datasets.phantom_ct", "PhantomCt"),
    "phantom-cxr": ("shards.datasets.phantom_cxr", "PhantomCxr"),
    "phantom-fundus": ("shards.datasets.phantom_fundus", "PhantomFundus"),
    "spider": ("shards.datasets.spider", "Spider"),
    "table": ("shards.datasets.table", "Table"),
    "tusc": ("shards.datasets.tusc", "Tusc"),
}
#: Names that papers and publishers use for the same datasets.
_ALIASES: Mapping[str, str] = {
    "adni": "adni-15t",
    "brest": "brset",
    "covid-ct": "covid-ct-md",
    "cxp": "chexpert",
    "fairvlmed10k": "fairvlmed",
    "ham10000-seg": "ham10000",
    "harvard-fairseg": "fairseg",
    "harvard-fairvision": "fairvision",
    "harvard-gf3300": "gf3300",
    "isic2018": "ham10000",
    "kits2023": "kits23",
    "mimic-cxr-jpg": "mimic-cxr",
    "nih": "nih-cxr14",
    "chestx-ray14": "nih-cxr14",
    "oct": "oct-amd",
}


def adapter_names() -> tuple[str, ...]:
    """Return the names of all datasets that can be converted, sorted."""
    return tuple(sorted(_ADAPTERS))


def adapter_class(name: str) -> type[Adapter]:
    """Return the adapter of a dataset; underscores, capitals and the papers' names are accepted.

    Raises
    ------
    UserError
        If there is none of that name.
    """
    known = name.lower().replace("_", "-")
    known = _ALIASES.get(known, known)
    if known not in _ADAPTERS:
        raise unknown_name("dataset", name, _ADAPTERS, hint="For your own data use 'table'.")
    module, attribute = _ADAPTERS[known]
    return cast("type[Adapter]", getattr(importlib.import_module(module), attribute))


def make_adapter(name: str, options: Mapping[str, Any]) -> Adapter:
    """Make the adapter of a dataset from what a user wrote.

    Parameters
    ----------
    name
        See :func:`adapter_names`.
    options
        The adapter's fields; hyphens in their names are accepted.

    Raises
    ------
    UserError
        For an unknown name, and for options that are unknown (naming the nearest valid one), missing or of a
        wrong value.
    """
    from pydantic import ValidationError

    from shards.validation import explain

    kind = adapter_class(name)
    try:
        return kind(**{key.replace("-", "_"): value for key, value in options.items()})
    except ValidationError as error:
        raise explain(error, kind, f"dataset {kind.name!r}") from None
