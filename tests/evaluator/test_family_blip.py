"""BLIP and BLIP-2 from LAVIS' files give the features, texts and scores that transformers' networks of them give."""

import dataclasses

import numpy as np
import pytest
import torch
from lavis import (
    blip2_checkpoints,
    blip2_reference,
    blip_checkpoint,
    blip_reference,
    fill_at_random,
    hollow,
    without_key_bias,
)
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from usage_fakes import embeddings

from evaluator.models.families._lavis_networks import blip2_state, blip_state
from evaluator.models.families.blip import LavisModel, build
from evaluator.models.interfaces import Similarity
from evaluator.models.loading import fill, load_model
from evaluator.models.preprocess import Preprocessor, normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import LocatedWeights, MissingWeights, locate
from evaluator.usages.zero_shot import classifier, predict
from shards.card import PromptSet, Target
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
LAYERS, DEPTH = 2, 2
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a an chest x - ray of photo with no edema pneu ##mo ##nia , ' pleural"
#: A text and how the publisher's caption processor writes it.
TEXTS = {
    "A chest X-ray of pneumonia.": "a chest x-ray of pneumonia",
    'no "edema"!': "no edema",
    "photo:  (no   pleural#edema),  an x-ray;": "photo no pleural edema , an x-ray",
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def reduced(name, **options):
    """The card of a model with fewer layers: another number in the same code."""
    card = REGISTRY.card(name)
    return dataclasses.replace(card, options={**card.options, **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lavis")
    (folder / "vocab.txt").write_text("\n".join(WORDS.split()) + "\n")
    return folder


@pytest.fixture(scope="module")
def blip(folder):
    """transformers' BLIP, and ours from its weights in LAVIS' layout."""
    reference = blip_reference(LAYERS)
    fill_at_random(reference)
    torch.save(blip_checkpoint(reference.state_dict()), folder / "model_base_capfilt_large.pth")
    card = reduced("blip-base", layers=LAYERS)
    return reference, load_model(card, locate(card, [folder]))


@pytest.fixture(scope="module")
def blip2_network(folder):
    reference = blip2_reference(DEPTH, LAYERS)
    fill_at_random(reference)
    without_key_bias(reference)
    first, second = blip2_checkpoints(reference.state_dict(), DEPTH)
    torch.save(first, folder / "blip2_pretrained.pth")
    torch.save(second, folder / "eva_vit_g.pth")
    return reference


@pytest.fixture(scope="module")
def blip2(folder, blip2_network):
    card = reduced("blip2", layers=LAYERS, depth=DEPTH)
    return blip2_network, load_model(card, locate(card, [folder]))


def pixels(count=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8, generator=generator)


def tokens(folder):
    """The texts' tokens by transformers, padded to the longest as LAVIS pads them."""
    from transformers import BertTokenizerFast

    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    return tokenizer(list(TEXTS.values()), padding=True, return_tensors="pt")


def unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_blip_gives_the_class_token_and_its_projection(blip):
    reference, model = blip
    features, projected = model.encode(pixels())
    tower = reference.vision_model(normalise(pixels(), model.card.preprocessing)).last_hidden_state[:, 0]
    assert_close(features, tower)
    assert_close(projected, reference.vision_proj(tower))
    assert (features.shape, projected.shape) == ((3, 768), (3, 256))
    assert features.std(dim=0).min() > 1e-3  # the images are told apart, so that equality says something


def test_blip_texts_are_read_as_the_publisher_reads_them(blip, folder):
    reference, model = blip
    read = tokens(folder)
    hidden = reference.text_encoder(read.input_ids, attention_mask=read.attention_mask).last_hidden_state
    assert_close(model.encode_text(list(TEXTS)), reference.text_proj(hidden[:, 0]))


def test_blip2_gives_all_queries_projected_and_their_mean_or_the_first(blip2):
    reference, model = blip2
    features, projected = model.encode(pixels(2))
    image = reference.vision_model(normalise(pixels(2), model.card.preprocessing)).last_hidden_state
    queries = reference.qformer(reference.query_tokens.expand(2, -1, -1), encoder_hidden_states=image)
    assert_close(features, queries.last_hidden_state.mean(dim=1))
    assert_close(projected, reference.vision_projection(queries.last_hidden_state).flatten(1))
    assert (features.shape, projected.shape) == ((2, 768), (2, model.card.projected))
    first = reduced("blip2-query0", layers=LAYERS, depth=DEPTH)
    network = build(first)
    network.load_state_dict(model.network.state_dict(), assign=True)
    other, same = LavisModel(first, network, model._weights, model.device, "fp32").encode(pixels(2))
    assert_close(other, queries.last_hidden_state[:, 0])
    assert torch.equal(same, projected)


def test_blip2_texts_are_read_as_the_publisher_reads_them(blip2, folder):
    reference, model = blip2
    read = tokens(folder)
    words = reference.embeddings(read.input_ids)
    hidden = reference.qformer(words, query_length=0, attention_mask=read.attention_mask).last_hidden_state
    assert_close(model.encode_text(list(TEXTS)), reference.text_projection(hidden[:, 0]))


def test_scale_is_one_over_the_stored_temperature(blip, blip2):
    assert blip[1].similarity == Similarity("softmax", pytest.approx(20, rel=1e-6))
    assert blip2[1].similarity == Similarity("softmax", pytest.approx(25, rel=1e-6), vectors=32)


def scores(model, images):
    """Classify images on the CPU by texts, through the usages."""
    target = Target("edema", ("no", "yes"), positive="yes")
    prompts = PromptSet("edema", "v1", ("{}",), (("no edema",), ("a chest x-ray of pneumonia",)))
    features, projected = model.encode(images)
    table = embeddings(features.numpy(), ["test"] * len(images), projected=projected.numpy())
    labels = dict.fromkeys(table["sample_id"].to_pylist())
    found = predict(table, labels, target, classifier(model, prompts, target))
    return torch.tensor(found["logits"].to_pylist())


@pytest.mark.parametrize("name", ["blip", "blip2"])
def test_zero_shot_scores_are_those_of_the_reference_on_the_cpu(name, request, folder):
    # The reference wrappers moved a list of texts to a device, which fails.
    reference, model = request.getfixturevalue(name)
    read = tokens(folder)
    places = [1, 0]
    more = {"use_itm_head": False} if name == "blip" else {"use_image_text_matching_head": False}
    answer = reference(
        input_ids=read.input_ids[places],
        attention_mask=read.attention_mask[places],
        pixel_values=normalise(pixels(), model.card.preprocessing),
        **more,
    )
    cosines = answer.itm_score if name == "blip" else answer.logits_per_image
    torch.testing.assert_close(
        scores(model, pixels()), cosines * model.similarity.scale, rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("name", ["blip", "blip2"])
def test_one_image_keeps_its_batch_axis_and_every_call_gives_the_same(name, request):
    _, model = request.getfixturevalue(name)
    features, projected = model.encode(pixels(1))
    assert (features.shape, projected.shape) == ((1, 768), (1, model.card.projected))
    assert torch.equal(model.encode(pixels(1)).features, features)
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    half = load_half(model).encode(pixels(1)).features
    assert half.dtype == torch.float32
    assert 1e-6 < 1 - torch.cosine_similarity(half, features).item() < 1e-2


def load_half(model):
    """The same network, its image tower in bfloat16."""
    return LavisModel(model.card, model.network, model._weights, model.device, "bf16")


def test_a_texts_embedding_does_not_depend_on_the_others(blip):
    _, model = blip
    texts = list(TEXTS)
    assert torch.equal(model.encode_text(texts * 7)[:1], model.encode_text(texts[:1]))


def test_texts_that_are_too_long_or_none_are_refused(blip):
    _, model = blip
    assert model.encode_text(["a " * 33]).shape == (1, 256)
    with pytest.raises(UserError, match=r"36 tokens; model 'blip-base' reads at most 35"):
        model.encode_text(["a " * 34])
    with pytest.raises(ValueError, match="at least one"):
        model.encode_text([])


def test_without_a_tokenizer_images_are_encoded_and_texts_refused(blip):
    _, model = blip
    bare = dataclasses.replace(model._weights, tokenizer=None)
    other = LavisModel(model.card, model.network, bare, model.device, "fp32")
    assert torch.equal(other.encode(pixels(1)).features, model.encode(pixels(1)).features)
    with pytest.raises(
        MissingWeights, match=r"'vocab\.txt' of model 'blip-base'.*google-bert/bert-base-uncased"
    ):
        other.encode_text(["a chest"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"visual_encoder.blocks.1.attn.qkv.bias": None},
            r"1 missing: visual_encoder\.blocks\.1\.attn\.qkv\.bias",
        ),
        ({"text_proj.weight": None}, r"1 missing: text_proj\.weight"),
        ({"temp": None}, "1 missing: temp"),
        ({"visual_encoder.head.weight": torch.ones(2)}, r"1 unexpected: visual_encoder\.head\.weight"),
        (
            {"vision_proj.weight": torch.ones(256, 1024)},
            r"vision_proj\.weight \(expected \[256, 768\], found",
        ),
    ],
)
def test_blip_checkpoints_that_do_not_fit_are_refused(blip, tmp_path, change, message):
    reference, model = blip
    state = {**blip_checkpoint(hollow(reference.state_dict()))["model"], **change}
    torch.save({name: tensor for name, tensor in state.items() if tensor is not None}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message):
        load_model(model.card, LocatedWeights(tmp_path / "w.pth", "x"))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            0,
            {"Qformer.bert.encoder.layer.0.crossattention.self.key.weight": None},
            r"1 missing: qformer\..*key\.weight",
        ),
        (
            0,
            {"Qformer.bert.encoder.layer.1.output_query.dense.bias": None},
            "1 missing: qformer.*output_query",
        ),
        (0, {"ln_vision.bias": None}, r"1 missing: visual_encoder\.norm\.bias"),
        (0, {"query_tokens": torch.ones(1, 16, 768)}, r"query_tokens \(expected \[1, 32, 768\]"),
        (0, {"t5_proj.weight": torch.ones(2)}, r"1 unexpected: t5_proj\.weight"),
        (0, {"visual_encoder.cls_token": torch.ones(1, 1, 1408)}, "image tower of their own"),
        (
            1,
            {"blocks.1.attn.q_bias": None},
            r"1 missing: .*blocks\.1\.attn\.qkv\.bias; 1 unexpected: .*v_bias",
        ),
        (1, {"blocks.1.mlp.fc1.weight": None}, r"1 missing: visual_encoder\.blocks\.1\.mlp\.fc1\.weight"),
        (1, {f"blocks.{DEPTH + 1}.norm1.bias": torch.ones(1408)}, "1 unexpected: visual_encoder"),
        (1, {"rope.freqs_cos": torch.ones(2)}, r"1 unexpected: visual_encoder\.rope\.freqs_cos"),
    ],
)
def test_blip2_checkpoints_that_do_not_fit_are_refused(blip2_network, tmp_path, file, change, message):
    first, second = blip2_checkpoints(hollow(blip2_network.state_dict()), DEPTH)
    states = [first["model"], second]
    states[file] = {name: tensor for name, tensor in {**states[file], **change}.items() if tensor is not None}
    paths = (tmp_path / "a.pth", tmp_path / "b.pth")
    for path, state in zip(paths, states, strict=True):
        torch.save(state, path)
    card = reduced("blip2", layers=LAYERS, depth=DEPTH)
    with pytest.raises(UserError, match=message):
        load_model(card, LocatedWeights(paths[0], "x", others=(paths[1],)))


def test_blip2_needs_both_of_its_files(blip2, folder, tmp_path):
    _, model = blip2
    (tmp_path / "blip2_pretrained.pth").symlink_to(folder / "blip2_pretrained.pth")
    with pytest.raises(
        MissingWeights, match=r"'eva_vit_g\.pth' \(one of 2.*model 'blip2'.*BLIP2/eva_vit_g\.pth.*BSD-3"
    ):
        locate(model.card, [tmp_path])
    with pytest.raises(UserError, match=r"'blip2' needs 2 weights file\(s\), got 1"):
        load_model(model.card, LocatedWeights(folder / "blip2_pretrained.pth", "x"))


@pytest.mark.parametrize("name", ["blip-base", "blip2", "blip2-query0"])
def test_published_checkpoints_fit_the_full_size_networks(name):
    card = REGISTRY.card(name)
    network = build(card)
    with torch.device("meta"):
        if name == "blip-base":
            used = blip_state(blip_checkpoint(blip_reference(12).state_dict(), queue=57600)["model"])
        else:
            first, second = blip2_checkpoints(blip2_reference(39, 12).state_dict(), 39)
            used = blip2_state(first["model"], second, 39)
    fill(network, used, card)
    # Nothing that a file does not fill may be left: the networks are built without content.
    assert not {name for name, _ in network.named_buffers()} - set(network.state_dict())
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert millions == pytest.approx(195 if name == "blip-base" else 1172, abs=1)


@pytest.mark.parametrize("name", ["blip-base", "blip2"])
def test_cards_say_what_the_networks_measure(name):
    card = REGISTRY.card(name)
    network = build(card).eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        vectors = network.image(torch.empty(1, 3, 224, 224, device="meta"))
    assert [tuple(each.shape) for each in vectors] == [(1, card.dimension), (1, card.projected)]
    assert counter.get_total_flops() / 1e9 == pytest.approx(card.gflops, rel=0.01)
    # Twice the multiply-adds of the image tower's matrix products, from its widths.
    tokens, width, inner, depth = (197, 768, 3072, 12) if name == "blip-base" else (257, 1408, 6144, 39)
    blocks = depth * (tokens * (4 * width**2 + 2 * width * inner) + 2 * tokens**2 * width)
    assert 1 < card.gflops / (2e-9 * blocks) < 1.04


@pytest.mark.parametrize(("height", "width"), [(301, 187), (223, 640), (50, 51), (224, 224)])
def test_preprocessing_is_the_publishers_evaluation_transform(height, width):
    from torchvision import transforms
    from torchvision.transforms.functional import InterpolationMode

    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    published = transforms.Compose(
        [
            transforms.Resize((224, 224), interpolation=InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    for name in ("blip-base", "blip2"):
        preprocessing = REGISTRY.card(name).preprocessing
        ours = torch.from_numpy(Preprocessor(preprocessing)(image).pixels)
        assert torch.equal(normalise(ours[None], preprocessing)[0], published(Image.fromarray(image)))


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("BLIP", "blip-base"), ("BLIP-2", "blip2"), ("BLIP2", "blip2"), ("blip2_feature_extractor", "blip2")],
)
def test_the_papers_names_are_accepted(spelling, name):
    assert REGISTRY.card(spelling).name == name
