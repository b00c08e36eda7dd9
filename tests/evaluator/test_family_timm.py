import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from evaluator.models.loading import load_model
from evaluator.models.preprocess import Preprocessor
from evaluator.models.registry import default_registry
from evaluator.models.weights import LocatedWeights, locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
NAME = "test_efficientnet"


def saved(network, path):
    save_file(network.state_dict(), path)
    return path


def pixels_for(card, count=2):
    size = card.preprocessing.size
    return torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def by_hand(card, pixels):
    """Normalise with torchvision, independently of ours."""
    from torchvision.transforms.v2.functional import normalize

    return normalize(pixels.float() / 255, list(card.preprocessing.mean), list(card.preprocessing.std))


def test_features_equal_timms_own_and_the_classifier_is_left_out(tmp_path):
    torch.manual_seed(0)
    published = timm.create_model(NAME, num_classes=1000).eval()
    card = REGISTRY.card(f"timm:{NAME}@{saved(published, tmp_path / 'w.safetensors')}")
    pixels = pixels_for(card)
    features, projected = load_model(card, locate(card)).encode(pixels)
    published.reset_classifier(0)
    with torch.inference_mode():
        expected = published(by_hand(card, pixels))
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)
    assert features.shape == (2, card.dimension)
    assert projected is None


def test_checkpoint_without_classifier_fits_too(tmp_path):
    path = saved(timm.create_model(NAME, num_classes=0), tmp_path / "w.safetensors")
    card = REGISTRY.card(f"timm:{NAME}@{path}")
    assert load_model(card, locate(card)).encode(pixels_for(card)).features.shape == (2, card.dimension)


def test_checkpoint_of_another_architecture_is_refused(tmp_path):
    path = saved(timm.create_model("test_resnet", num_classes=0), tmp_path / "w.safetensors")
    card = REGISTRY.card(f"timm:{NAME}@{path}")
    with pytest.raises(UserError, match=r"missing.*unexpected"):
        load_model(card, locate(card))


def test_checkpoint_that_lacks_a_layer_on_the_feature_path_is_refused(tmp_path):
    state = timm.create_model(NAME, num_classes=1000).state_dict()
    del state["conv_head.weight"]
    save_file(state, tmp_path / "w.safetensors")
    card = REGISTRY.card(f"timm:{NAME}@{tmp_path / 'w.safetensors'}")
    with pytest.raises(UserError, match=r"1 missing: conv_head\.weight"):
        load_model(card, locate(card))


def test_position_embedding_of_another_size_is_resampled_as_timm_does(tmp_path):
    import dataclasses

    torch.manual_seed(0)
    large = timm.create_model("test_vit", num_classes=0, img_size=192)
    saved(large, tmp_path / "w.safetensors")
    card = REGISTRY.card(f"timm:test_vit@{tmp_path / 'w.safetensors'}")
    small = dataclasses.replace(
        card,
        options={"img_size": 96},
        preprocessing=dataclasses.replace(card.preprocessing, size=96),
    )
    model = load_model(small, locate(small))
    large.set_input_size(96)
    pixels = pixels_for(small)
    with torch.inference_mode():
        expected = large.eval()(by_hand(small, pixels))
    torch.testing.assert_close(model.encode(pixels).features, expected, rtol=1e-4, atol=1e-4)


def test_random_control_is_the_same_every_time_and_differs_between_seeds():
    def features(name):
        card = REGISTRY.card(name)
        return load_model(card, locate(card)).encode(pixels_for(card)).features

    first = features(f"timm:{NAME}@random:1")
    assert torch.equal(first, features(f"timm:{NAME}@random:1"))
    assert not torch.equal(first, features(f"timm:{NAME}@random:2"))


def test_encoding_never_changes_batch_norm_statistics():
    card = REGISTRY.card(f"timm:{NAME}@random")
    model = load_model(card, locate(card))
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    first = model.encode(pixels_for(card)).features
    assert torch.equal(model.encode(pixels_for(card)).features, first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())


def test_mobilenetv2_card_builds_the_published_variant(tmp_path):
    card = REGISTRY.card("mobilenetv2-035")
    torch.manual_seed(0)
    published = timm.create_model("mobilenetv2_035", num_classes=0, pad_type="same").eval()
    for module in published.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3
            module.running_var.uniform_(0.001, 0.01)  # small, so that a wrong eps shows
    path = saved(published, tmp_path / "w.safetensors")
    pixels = pixels_for(card)
    features = load_model(card, LocatedWeights(path, "x")).encode(pixels).features
    with torch.inference_mode():
        expected = published(pixels.float() / 127.5 - 1)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    assert features.shape == (2, card.dimension)


@pytest.mark.real
def test_real_mobilenetv2_file_has_its_hash_and_loads_strictly():
    folder = os.environ.get("FAIRRAY_REAL_WEIGHTS")
    if folder is None:
        pytest.skip("FAIRRAY_REAL_WEIGHTS does not name a folder of weights")
    card = REGISTRY.card("mobilenetv2-035")
    located = locate(card, [Path(folder)])
    assert located.sha256 == card.weights.sha256
    # A red disc on green: real weights give sparse, non-negative features that are far from those of noise.
    grid = np.indices((150, 200)) - np.array([75, 100])[:, None, None]
    disc = (grid**2).sum(0) < 50**2
    image = np.where(disc[..., None], (200, 40, 40), (40, 160, 60)).astype(np.uint8)
    preprocess = Preprocessor(card.preprocessing)
    mirrored = np.asarray(Image.fromarray(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    batch = np.stack([preprocess(i).pixels for i in (image, mirrored, noise)])
    features = load_model(card, located).encode(torch.from_numpy(batch)).features
    assert features.shape == (3, 1280)
    assert (features >= 0).all()
    similarity = torch.nn.functional.cosine_similarity
    same, other = similarity(features[0], features[1], dim=0), similarity(features[0], features[2], dim=0)
    assert same > 0.95
    assert other < 0.8
