"""The study file: what to run and how to measure it, written by people, checked before anything starts.

Unknown keys are errors that name the nearest valid key. Paths are relative to the folder the command runs in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from evaluator.groups import GroupRule, parse_groups
from evaluator.measure import MeasureSettings
from jobs.kinds import USAGES
from shards.buckets import location
from shards.errors import UserError, unknown_name
from shards.validation import explain

if TYPE_CHECKING:
    from shards.convert import ConvertOptions


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _split_files(value: Any) -> Any:
    """Read ``FILE``, ``[FILE, ...]`` and ``{train: FILE, test: FILE}`` as the command line's words."""
    if isinstance(value, str | Path):
        return (str(value),)
    return tuple(f"{split}={file}" for split, file in value.items()) if isinstance(value, Mapping) else value


class ConvertSettings(_Part):
    """How a dataset becomes shards when it is not converted yet (see ``fairray shard --help``)."""

    max_side: Annotated[int, Field(ge=16)] | None = None
    samples_per_shard: Annotated[int, Field(ge=1)] = 256
    seed: int = 0
    splits: Annotated[tuple[str, ...], BeforeValidator(_split_files)] = ()
    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.05

    def options(self, workers: int | None) -> ConvertOptions:
        """Return the conversion's own options; `workers` processes, all CPUs by default, change no byte."""
        from shards.convert import ConvertOptions
        from shards.split_lists import read_split_list

        return ConvertOptions(
            max_side=self.max_side,
            samples_per_shard=self.samples_per_shard,
            seed=self.seed,
            workers=workers,
            splits=read_split_list(self.splits) if self.splits else None,
            max_rejected=self.max_rejected,
        )


def _place(value: Any) -> Any:
    return location(value) if isinstance(value, str | Path) else value


class DatasetEntry(_Part):
    """One dataset of a study.

    Attributes
    ----------
    shards
        Folder of the converted dataset, or its address in an object store (``s3://bucket/name``); filled by the run when
        it does not exist yet.
    adapter
        Which adapter converts it; by default the dataset's own key in the study.
    raw
        The publisher's folder, or its address in an object store, handed to the adapter.
    options
        Further options of the adapter.
    targets
        Which targets are predicted; by default all of them.
    """

    shards: Annotated[Path | str, BeforeValidator(_place)]
    adapter: str | None = None
    raw: Annotated[Path | str | None, BeforeValidator(_place)] = None
    options: dict[str, Any] = {}
    convert: ConvertSettings = ConvertSettings()
    targets: tuple[str, ...] | None = None

    def adapter_options(self) -> dict[str, Any]:
        """Return the options of the adapter, the raw folder among them."""
        return {**self.options, **({"raw": self.raw} if self.raw is not None else {})}


class ModelEntry(_Part):
    """One model of a study: its registry name and, if not found by itself, the file of its weights."""

    name: str
    weights: Path | None = None


def _model_entry(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _usage_options(value: Any) -> dict[str, BaseModel]:
    if not isinstance(value, Mapping):
        raise ValueError("usages must be a mapping such as {zero_shot: {}, linear_probe: {}}")
    return {str(name): _one_usage(str(name), options) for name, options in value.items()}


def _one_usage(name: str, options: Any) -> BaseModel:
    if name not in USAGES:
        raise unknown_name("usage", name, USAGES)
    if isinstance(options, BaseModel):
        return options
    kind = USAGES[name].options
    try:
        return kind.model_validate(options or {})
    except ValidationError as error:
        raise explain(error, kind, f"usages.{name}") from None


class Study(_Part):
    """A study, complete and checked.

    Attributes
    ----------
    study
        Name; letters, digits, ``-`` and ``_``.
    store
        Folder that holds all tables.
    datasets, models, usages
        What is combined.
    attributes
        Groups to compare: ``{sex: {}, age: {bins: [60]}, race: {preset: fairmedfm}, sex*age: {}}``; see
        :func:`evaluator.groups.parse_groups`.
    measure
        Bootstrap, thresholds, smallest groups.
    weights
        Folders searched for weight files.
    precision
        Number format of the encoders.
    fail_budget
        Largest share of failed samples with which a run still counts as complete.
    """

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    store: Path
    datasets: Annotated[dict[str, DatasetEntry], Field(min_length=1)]
    models: Annotated[tuple[Annotated[ModelEntry, BeforeValidator(_model_entry)], ...], Field(min_length=1)]
    usages: Annotated[dict[str, Any], BeforeValidator(_usage_options), Field(min_length=1)]
    attributes: dict[str, Any] = {}
    measure: MeasureSettings = MeasureSettings()
    weights: tuple[Path, ...] = ()
    precision: Literal["fp32", "bf16"] = "fp32"
    fail_budget: Annotated[float, Field(ge=0, le=1)] = 0.01

    def groups(self) -> tuple[GroupRule, ...]:
        """Return the rules that form the groups; :mod:`evaluator.presets` fits them to a dataset."""
        return parse_groups(self.attributes)


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Read a study file.

    Parameters
    ----------
    path
        YAML file.
    overrides
        ``key.key=value`` strings; the value is YAML. They win over the file.

    Raises
    ------
    UserError
        If the file is absent, is not YAML, or does not describe a study: names the place, what was expected and found.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"study file {str(path)!r} does not exist. Give the path of a YAML study.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"study file {str(path)!r} is not valid YAML: {error}") from None
    except OSError as error:
        raise UserError(f"study file {str(path)!r} cannot be read: {error.strerror}.") from None
    if not isinstance(value, dict):
        raise UserError(f"study file {str(path)!r} must hold a mapping, found {type(value).__name__}.")
    for override in overrides:
        _apply(value, override)
    return parse_study(value)


def parse_study(value: Mapping[str, Any]) -> Study:
    """Check a study given as plain values (see :func:`load_study`)."""
    try:
        study = Study.model_validate(value)
    except ValidationError as error:
        raise explain(error, Study, "study") from None
    _check_probed(study, [rule.name for rule in study.groups()])
    _check_view(study, [rule.name for rule in study.groups()])
    return study


def _check_probed(study: Study, attributes: Sequence[str]) -> None:
    """Refuse to probe a representation for an attribute that the study does not form groups of."""
    options = study.usages.get("representation")
    if options is None:
        return
    if not attributes:
        raise UserError(
            "usage representation probes the study's attributes, and the study names none. Add attributes: {sex: {}}."
        )
    spelled = {attribute.casefold() for attribute in attributes}
    for name in options.attributes or ():
        if name.casefold() not in spelled:
            raise unknown_name("attribute of usages.representation:", name, attributes)


def _check_view(study: Study, attributes: Sequence[str]) -> None:
    """Refuse a view by an attribute that the study does not form groups of."""
    from evaluator.views import parse_view

    if study.measure.view is None:
        return
    wanted = parse_view(study.measure.view).attribute
    if wanted.casefold() not in {attribute.casefold() for attribute in attributes}:
        raise unknown_name("attribute of measure.view:", wanted, attributes)


def _apply(value: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = [key for key in path.strip().split(".") if key]
    if not equals or not keys:
        raise UserError(f"override {override!r} must look like key.key=value, e.g. measure.bootstrap=500.")
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError:
        parsed = text
    place: Any = value
    for key in keys[:-1]:
        place = _step(place, key, override)
    if isinstance(place, list):
        place[_position(place, keys[-1], override)] = parsed
    else:
        place[keys[-1]] = parsed


def _step(place: Any, key: str, override: str) -> Any:
    if isinstance(place, list):
        inner = place[_position(place, key, override)]
    else:
        inner = place[key] = {} if place.get(key) is None else place[key]
    if not isinstance(inner, dict | list):
        raise UserError(f"override {override!r}: {key!r} holds a single value, not a mapping.")
    return inner


def _position(place: list[Any], key: str, override: str) -> int:
    if not key.isdigit() or int(key) >= len(place):
        raise UserError(f"override {override!r}: {key!r} must be a position from 0 to {len(place) - 1}.")
    return int(key)
