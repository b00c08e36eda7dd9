"""Zero-shot classification: the similarity of an image to texts that describe the classes.

Guarantee: a class's text embedding depends on that class's texts only, and a row's scores on that row only
(elementwise float64 arithmetic in a fixed order), so neither shards nor batches change a bit. Nothing is
fitted: no threshold, no temperature, no statistics over images (a published zero-shot z-scores over the
images of the call; this one never does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evaluator.models.interfaces import Similarity
from evaluator.usages.options import Pool, ZeroShotOptions, check_templates
from evaluator.usages.predictions import PredictionRows, true_labels
from evaluator.usages.volumes import pool_logits, slice_vectors
from shards.card import DatasetCard, PromptSet, Target
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pyarrow as pa

    from evaluator.models.interfaces import VisionLanguageModel


@dataclass(frozen=True)
class TextClassifier:
    """Class weights made from texts.

    Attributes
    ----------
    weights
        ``[C, P]`` float64, rows of unit length, in the order of the target's classes.
    similarity
        The model's own rule and scale.
    """

    weights: NDArray[np.float64]
    similarity: Similarity


def choose_prompts(card: DatasetCard, target: Target, options: ZeroShotOptions) -> PromptSet:
    """Return the texts that a study's options select for one target.

    Parameters
    ----------
    card
        The dataset's card with its prompt sets.
    target
        The target to classify.
    options
        `prompts` picks a version (the first by default), `templates` replaces its templates; with `templates`
        a target without any prompt set is described by its class names.

    Raises
    ------
    UserError
        If there is no such version, or neither prompts nor templates.
    """
    sets = {p.version: p for p in card.prompts if p.target == target.name}
    if options.prompts is not None and options.prompts not in sets:
        raise unknown_name(f"prompt set of target {target.name!r} of {card.name!r}", options.prompts, sets)
    chosen = sets[options.prompts] if options.prompts is not None else next(iter(sets.values()), None)
    if options.templates is None:
        if chosen is None:
            raise UserError(
                f"target {target.name!r} of dataset {card.name!r} has no prompts, so zero_shot has no texts "
                f"to compare with. Give zero_shot.templates, e.g. ['a photo of {{}}'], or leave the target "
                "out."
            )
        return chosen
    names = chosen.names if chosen else tuple((name,) for name in target.classes)
    version = f"{chosen.version if chosen else 'class-names'}+templates"
    return PromptSet(target.name, version, options.templates, names)


def classifier(model: VisionLanguageModel, prompts: PromptSet, target: Target) -> TextClassifier:
    """Turn texts into class weights.

    Parameters
    ----------
    model
        Gives the text embeddings, the similarity rule and its scale.
    prompts
        Templates and, for each class of the target in its order, names.
    target
        The target to classify.

    Returns
    -------
    TextClassifier
        For every class the mean of the normalised embeddings of all its texts (templates x names), normalised
        again.

    Raises
    ------
    UserError
        If the prompts do not fit the target, or the model gives no direction for a class.

    Notes
    -----
    Prompt ensembling after Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision" (2021), section 3.1.4.
    """
    _check_prompts(prompts, target)
    weights = []
    for name, phrases in zip(target.classes, prompts.names, strict=True):
        texts = [template.replace("{}", phrase) for template in prompts.templates for phrase in phrases]
        embedded = _unit(model.encode_text(texts).detach().cpu().double().numpy())
        mean = _unit(embedded.mean(axis=0, keepdims=True))[0]
        if not np.isfinite(mean).all():
            raise UserError(
                f"texts of class {name!r} of target {target.name!r} give no usable embedding in model "
                f"{model.card.name!r} (NaN or zero length). First text: {texts[0]!r}. Check the weights or "
                "the prompts."
            )
        weights.append(mean)
    return TextClassifier(np.stack(weights), model.similarity)


def predict(
    embeddings: pa.Table,
    labels: Mapping[str, str | None],
    target: Target,
    classifier: TextClassifier,
    *,
    pool: Pool = "mean",
) -> pa.Table:
    """Score every row of an embeddings table.

    Parameters
    ----------
    embeddings
        Table of :func:`evaluator.tables.embeddings_schema` with `projected`.
    labels
        True class name by sample id, None where unknown; see :func:`evaluator.usages.predictions.labels_of`.
    target
        The target to classify.
    classifier
        From :func:`classifier`.
    pool
        How the logits of a volume's slices become those of the volume, see
        :func:`evaluator.usages.volumes.pool_logits`. The vectors are never averaged for that.

    Returns
    -------
    pyarrow.Table
        Schema :data:`evaluator.tables.PREDICTIONS`, one row per input row in the same order. `logits` are raw
        (``scale * cosine + bias``). `scores` are their soft-max for *both* similarity rules: for a sigmoid
        model this is the probability of each class given that exactly one of them is true (odds ``p / (1 - p)
        = exp(logit)``, normalised; the bias cancels); its own pairwise probability is ``1 / (1 +
        exp(-logit))`` of the stored logit.

    Raises
    ------
    UserError
        If the table has no `projected` features of the classifier's length, or a label is unknown.
    """
    rows = PredictionRows(embeddings, true_labels(embeddings, labels, target), target)
    features = rows.features("projected")
    length = classifier.weights.shape[1] * classifier.similarity.vectors
    if features.shape[1] != length:
        raise UserError(
            f"projected features must have length {length} as the text embeddings have, "
            f"got {features.shape[1]}. The embeddings were made with another model; compute them again."
        )
    logits = _logits(features, classifier)
    if "slice_projected" in embeddings.column_names:
        positive = None if target.positive is None else target.classes.index(target.positive)
        usable = [status == "ok" for status in embeddings["status"].to_pylist()]
        of_rows = slice_vectors(embeddings, "slice_projected")
        vectors = [one for one, ok in zip(of_rows, usable, strict=True) if ok]
        for row, own in enumerate(vectors):
            if own is not None:
                logits[row] = pool_logits(_logits(own.astype(np.float64), classifier), pool, positive)
    return rows.table(logits)


def _logits(features: NDArray[np.float64], classifier: TextClassifier) -> NDArray[np.float64]:
    similarity = classifier.similarity
    several = features.reshape(len(features) * similarity.vectors, -1)
    cosine = np.einsum("np,cp->nc", _unit(several), classifier.weights, optimize=False)
    cosine = cosine.reshape(len(features), similarity.vectors, -1).max(axis=1)
    return np.asarray(similarity.scale * cosine + similarity.bias)


def _check_prompts(prompts: PromptSet, target: Target) -> None:
    where = f"prompt set {prompts.version!r} of target {target.name!r}"
    if len(prompts.names) != len(target.classes):
        raise UserError(
            f"{where} must name {len(target.classes)} classes, got {len(prompts.names)}. Correct the card."
        )
    if not prompts.templates or not all(prompts.names):
        raise UserError(f"{where} must have at least one template and one name per class. Correct the card.")
    try:
        check_templates(prompts.templates)
    except ValueError as error:
        raise UserError(f"{where}: {error}.") from error


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True)))
