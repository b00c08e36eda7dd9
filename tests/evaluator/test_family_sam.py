from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segment_anything import SamPredictor, sam_model_registry

from evaluator.models.families.sam import SamModel
from evaluator.models.interfaces import MaskPrompt
from evaluator.models.loading import load_model
from evaluator.models.preprocess import Preprocessor
from evaluator.models.registry import default_registry
from evaluator.models.tiles import embed_tiles
from evaluator.models.weights import LocatedWeights, locate

REGISTRY = default_registry(plugins=[])
CARD = REGISTRY.card("tiny-sam")
SIZES = [(96, 128), (200, 77), (128, 128), (33, 190)]
PROMPTS = [
    MaskPrompt(points=((10.0, 20.0),)),
    MaskPrompt(box=(4.0, 6.0, 30.0, 25.0)),
    MaskPrompt(points=((12.0, 20.0), (20.0, 9.0), (31.5, 30.25))),
    MaskPrompt(points=((25.0, 5.0),)),
    MaskPrompt(box=(0.0, 0.0, 32.0, 32.0)),
    MaskPrompt(points=((8.0, 8.0),), box=(2.0, 2.0, 20.0, 20.0)),
]


@pytest.fixture(scope="module")
def model():
    return load_model(CARD, locate(CARD))


def noise(height, width):
    """Smooth blobs: an image on which the shipped model gives masks with both signs."""
    rng = np.random.default_rng(height * 1000 + width)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = [
        np.sin(rng.uniform(5, 25) * rows + rng.uniform(5, 25) * columns + rng.uniform(0, 6)) for _ in range(3)
    ]
    return ((np.stack(waves, axis=-1) + 1) * 127).astype(np.uint8)


def answers(model, image, prompts):
    preprocess = Preprocessor(model.card.preprocessing)
    framed = preprocess(image)
    (embedding,) = embed_tiles(model, [framed], tile=1)
    original = image.shape[:2]
    mapped = [preprocess.map_prompt(prompt, original) for prompt in prompts]
    return model.decode(embedding, mapped, frame=framed.frame, original=original)


def references(network, image, prompts):
    """Ask segment-anything's own predictor: three masks for one point, else one; best predicted IoU."""
    predictor = SamPredictor(network)
    predictor.set_image(image)
    for prompt in prompts:
        logits, quality, _ = predictor.predict(
            point_coords=np.array(prompt.points) if prompt.points else None,
            point_labels=np.ones(len(prompt.points)) if prompt.points else None,
            box=np.array(prompt.box) if prompt.box else None,
            multimask_output=len(prompt.points) == 1 and prompt.box is None,
            return_logits=True,
        )
        best = int(quality.argmax())
        yield logits[best], float(quality[best])


@pytest.mark.parametrize("size", SIZES)
def test_masks_and_predicted_iou_equal_those_of_segment_anythings_predictor(model, size):
    image = noise(*size)
    expected = references(model.network, image, PROMPTS)
    for (logits, quality), answer in zip(expected, answers(model, image, PROMPTS), strict=True):
        assert answer.logits.shape == size
        assert answer.logits.dtype == torch.float32
        np.testing.assert_allclose(answer.logits.numpy(), logits, rtol=1e-3, atol=1e-3)
        assert answer.predicted_iou == pytest.approx(quality, abs=1e-4)


def random_sam(seed):
    """A Sam of other shape than the shipped one, with random weights."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(seed)
    network = Sam(
        ImageEncoderViT(
            img_size=128, patch_size=16, embed_dim=32, depth=2, num_heads=2, out_chans=32, use_rel_pos=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), window_size=4, global_attn_indexes=(1,),
        ),
        PromptEncoder(32, (8, 8), (128, 128), 8),
        MaskDecoder(transformer_dim=32, transformer=TwoWayTransformer(2, 32, 2, 64)),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_networks_agree_with_the_predictor_too(seed):
    network = random_sam(seed)
    model = SamModel(CARD, network, torch.device("cpu"), "fp32")
    image = noise(90, 130)
    chosen = set()
    expected = references(network, image, PROMPTS)
    for (logits, quality), answer in zip(expected, answers(model, image, PROMPTS), strict=True):
        np.testing.assert_allclose(answer.logits.numpy(), logits, rtol=1e-3, atol=1e-3)
        assert answer.predicted_iou == pytest.approx(quality, abs=1e-4)
        chosen.add(round(quality, 6))
    assert len(chosen) > 1


def test_answers_come_in_the_order_of_the_prompts_whatever_their_kinds(model):
    image = noise(96, 128)
    forward, backward = answers(model, image, PROMPTS), answers(model, image, PROMPTS[::-1])
    for one, other in zip(forward, backward[::-1], strict=True):
        torch.testing.assert_close(one.logits, other.logits, rtol=1e-3, atol=1e-3)
    assert answers(model, image, []) == []


def test_half_an_object_at_logit_0_3_belongs_to_the_mask(monkeypatch, model):
    # A threshold of 0.5 on logits (0.62 as a probability) would lose the weaker half: Dice 0.667 instead of 1.
    truth = np.zeros((64, 64), dtype=bool)
    truth[16:48, 16:48] = True
    low = torch.full((1, 1, 64, 64), -0.3)
    low[0, 0, 16:48, 16:32], low[0, 0, 16:48, 32:48] = 0.8, 0.3
    monkeypatch.setattr(model.network.mask_decoder, "forward", lambda **_: (low, torch.ones(1, 1)))
    # From 64 to 128 pixels and back to 64: the inside of each half keeps its logit.
    prompt = MaskPrompt(box=(0.0, 0.0, 127.0, 127.0))
    (answer,) = model.decode(torch.zeros(1, 64, 16, 16), [prompt], frame=(128, 128), original=(64, 64))
    assert float(answer.logits[32, 40]) == pytest.approx(0.3)
    mask = (answer.logits > model.card.mask_threshold).numpy()
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    legacy = (answer.logits > 0.5).numpy()
    legacy_dice = 2 * (legacy & truth).sum() / (legacy.sum() + truth.sum())
    assert dice == 1.0
    assert legacy_dice == pytest.approx(2 / 3)


def test_image_encoder_runs_once_per_image_for_all_prompts(model):
    passes = []
    hook = model.network.image_encoder.register_forward_hook(
        lambda _, inputs, __: passes.append(len(inputs[0]))
    )
    try:
        for size in SIZES:
            assert len(answers(model, noise(*size), PROMPTS)) == len(PROMPTS)
    finally:
        hook.remove()
    assert passes == [1] * len(SIZES)


def test_prompts_of_one_kind_share_one_pass_of_the_decoder(model):
    passes = []
    hook = model.network.mask_decoder.register_forward_hook(lambda *_: passes.append(1))
    try:
        answers(model, noise(96, 128), PROMPTS)
    finally:
        hook.remove()
    assert len(passes) == 4


def test_red_reaches_the_network_as_the_first_channel(model):
    image = np.zeros((128, 128, 3), dtype=np.uint8)
    image[:, :64, 0], image[:, 64:, 2] = 255, 255
    seen = []
    hook = model.network.image_encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        answers(model, image, PROMPTS[:1])
    finally:
        hook.remove()
    left, right = seen[0][0, :, 64, 20], seen[0][0, :, 64, 100]
    assert left[0] > left[2]
    assert right[2] > right[0]


def test_network_sees_many_values_and_zeros_in_the_padding(model):
    seen = []
    hook = model.network.image_encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        answers(model, noise(64, 128), PROMPTS[:1])
    finally:
        hook.remove()
    assert len(seen[0].unique()) > 100
    assert (seen[0][0, :, 64:] == 0).all()
    assert (seen[0][0, :, :64] != 0).any()


def test_features_are_the_mean_of_the_embedding(model):
    framed = Preprocessor(CARD.preprocessing)(noise(60, 128))
    pixels = torch.from_numpy(framed.pixels)[None]
    embedding = model.embed(pixels, [framed.frame])
    features, projected = model.encode(pixels, [framed.frame])
    torch.testing.assert_close(features, embedding.flatten(2).mean(2))
    assert features.shape == (1, CARD.dimension)
    assert projected is None


def test_wrong_embeddings_and_empty_prompts_are_refused(model):
    embedding = torch.zeros(2, 64, 16, 16)
    with pytest.raises(ValueError, match="one image"):
        model.decode(embedding, PROMPTS, frame=(128, 128), original=(128, 128))
    with pytest.raises(ValueError, match="prompt 1 has neither"):
        model.decode(embedding[:1], [PROMPTS[0], MaskPrompt()], frame=(128, 128), original=(128, 128))


@pytest.mark.slow
def test_published_layout_of_sam_vit_b_loads_strictly_and_segments(tmp_path):
    torch.manual_seed(0)
    published = sam_model_registry["vit_b"](checkpoint=None)
    path = tmp_path / "sam_vit_b.safetensors"
    save_file(published.state_dict(), path)
    card = REGISTRY.card("sam-vit-b")
    model = load_model(card, LocatedWeights(path, "x"))
    image = noise(300, 400)
    passes = []
    model.network.image_encoder.register_forward_hook(lambda *_: passes.append(1))
    prompts = [MaskPrompt(points=((200.0, 150.0),)), MaskPrompt(box=(50.0, 60.0, 200.0, 220.0))]
    (point, box) = answers(model, image, prompts)
    assert point.logits.shape == box.logits.shape == (300, 400)
    assert passes == [1]
    ((logits, quality),) = references(published, image, prompts[1:])
    np.testing.assert_allclose(box.logits.numpy(), logits, rtol=1e-3, atol=1e-3)
    assert box.predicted_iou == pytest.approx(quality, abs=1e-4)
