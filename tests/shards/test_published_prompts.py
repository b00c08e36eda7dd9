"""Texts for zero-shot classification as the papers published them, each class with its own."""

import pytest

from shards.datasets import adapter_class, adapter_names

PLAIN = ("normal",)
#: Dataset, target, version -> template, and the words for each class of the target by its name.
PUBLISHED = {
    **{
        (name, target, "fairmedfm-1"): ("a chest X-ray of a {}", {sick: ("diseased",), healthy: PLAIN})
        for name in ("chexpert", "mimic-cxr")
        for target, sick, healthy in (
            ("healthy_fairmedfm", "diseased", "healthy"),
            ("no_finding", "absent", "present"),
        )
    },
    **{
        ("ham10000", target, "fairmedfm-1"): (
            "a photo of a {}",
            {"benign": ("benign lesion",), "malignant": ("malignant lesion",)},
        )
        for target in ("malignant", "malignant_fairmedfm")
    },
    ("papila", "glaucoma", "fairmedfm-1"): (
        "a fundus image of a {}",
        {"healthy": PLAIN, "glaucoma": ("glaucoma",)},
    ),
    ("brset", "retinopathy", "fairmedfm-1"): (
        "a fundus image of a {}",
        {"normal": PLAIN, "retinopathy": ("retinopathy",)},
    ),
    ("fairvlmed", "glaucoma", "fairmedfm-1"): (
        "a scanning laser ophthalmoscope fundus image of a {}",
        {"non-glaucoma": PLAIN, "glaucoma": ("glaucoma",)},
    ),
    ("fairvlmed", "glaucoma", "fairclip-1"): (
        "A photo of {}",
        {"non-glaucoma": ("non-glaucoma",), "glaucoma": ("glaucoma",)},
    ),
    ("gf3300", "glaucoma", "fairmedfm-1"): (
        "a photo of a {}",
        {"non-glaucoma": PLAIN, "glaucoma": ("glaucoma",)},
    ),
    ("covid-ct-md", "pneumonia", "fairmedfm-1"): (
        "a computed tomography of a {}",
        {"normal": PLAIN, "pneumonia": ("pneumonia",)},
    ),
    **{
        ("adni-15t", target, "fairmedfm-1"): (
            "a brain MRI of {}",
            {"CN": PLAIN, "AD": ("Alzheimer's disease",)},
        )
        for target in ("alzheimers", "alzheimers_fairmedfm")
    },
    **{
        (name, column, "sourget-1"): ("Chest {}", {"absent": ("No findings",), "present": (phrase,)})
        for name in ("chexpert", "mimic-cxr", "nih-cxr14")
        for column, phrase in (
            ("atelectasis", "Atelectasis"),
            ("cardiomegaly", "Cardiomegaly"),
            ("consolidation", "Consolidation"),
            ("effusion" if name == "nih-cxr14" else "pleural_effusion", "Pleural Effusion"),
            ("pneumonia", "Pneumonia"),
            ("pneumothorax", "Pneumothorax"),
        )
    },
}


@pytest.mark.parametrize("key", PUBLISHED, ids="-".join)
def test_the_papers_texts_are_those_of_their_classes(key):
    name, target, version = key
    template, words = PUBLISHED[key]
    kind = adapter_class(name)
    (prompts,) = [p for p in kind.prompts if (p.target, p.version) == (target, version)]
    classes = {t.name: t.classes for t in kind.targets}[target]
    assert prompts.templates == (template,)
    assert dict(zip(classes, prompts.names, strict=True)) == words


def test_every_text_has_one_place_for_its_words():
    prompts = [p for name in adapter_names() for p in getattr(adapter_class(name), "prompts", ())]
    assert len(prompts) > 50
    assert [p for p in prompts if any(text.count("{}") != 1 for text in p.templates)] == []
