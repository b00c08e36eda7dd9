import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from evaluator.models.tiny.architecture import build_tiny_clip, build_tiny_sam
from evaluator.models.tiny.captions import caption_bank
from evaluator.models.tiny.cards import FOLDER, TINY_CARDS
from evaluator.models.tiny.scenes import draw_scene
from evaluator.models.tiny.tokenizer import END, PAD, START, clean, detokenize, tokenize
from evaluator.models.tiny.train_clip import ClipTraining, caption_loss, draw_pool, normalise, train_clip
from evaluator.models.tiny.train_sam import SamTraining, ask_boxes, ask_points, decode, train_sam
from shards.datasets.phantom_cxr import PhantomCxr
from shards.datasets.phantom_fundus import PhantomFundus

CARDS = {card.name: card for card in TINY_CARDS}
BUILDERS = {"tiny-clip": build_tiny_clip, "tiny-sam": build_tiny_sam}
EACH = pytest.mark.parametrize("name", sorted(BUILDERS))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(name):
    model = BUILDERS[name]()
    model.load_state_dict(load_file(FOLDER / CARDS[name].weights.file), strict=True)
    return model.eval()


def test_captions_round_trip_through_the_tokenizer():
    texts = list(caption_bank().texts)
    assert detokenize(tokenize(texts)) == [clean(text) for text in texts]


@given(st.text(max_size=200))
@settings(deadline=None, max_examples=100)
def test_any_text_becomes_one_framed_sequence(text):
    ids = tokenize(text)[0].tolist()
    assert len(ids) == 80
    assert ids[0] == START
    assert ids.count(END) == 1
    end = ids.index(END)
    assert end == int(np.argmax(ids))
    assert all(token < PAD for token in ids[1:end])
    assert all(token == PAD for token in ids[end + 1 :])
    assert clean(text).encode("utf-8", errors="replace").startswith(bytes(ids[1:end]))


def test_long_text_is_cut_and_keeps_its_end_token():
    ids = tokenize(["x" * 500], context_length=10)
    assert ids.shape == (1, 10)
    assert ids[0, -1] == END
    assert detokenize(ids) == ["x" * 8]


def test_case_and_white_space_do_not_matter():
    assert torch.equal(tokenize("A  Chest\tX-ray\n"), tokenize("a chest x-ray"))


def test_character_cut_in_half_is_dropped_when_reading_back():
    assert detokenize(tokenize(["éé"], context_length=5)) == ["é"]


def test_too_short_context_is_refused():
    with pytest.raises(ValueError, match="at least 3, got 2"):
        tokenize("a", context_length=2)


def test_models_are_members_of_their_families():
    from open_clip.model import CLIP
    from segment_anything.modeling import Sam

    assert type(build_tiny_clip()) is CLIP
    assert type(build_tiny_sam()) is Sam


@EACH
def test_shipped_weights_are_the_ones_the_card_demands(name):
    content = (FOLDER / CARDS[name].weights.file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == CARDS[name].weights.sha256
    assert len(content) < 3_000_000


@EACH
def test_shipped_weights_fill_every_parameter_with_finite_numbers(name):
    model = load(name)
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


@EACH
def test_training_record_says_how_it_was_made(name):
    record = json.loads((FOLDER / f"{name}.json").read_text())
    assert record["model"] == name
    assert record["loss"]["last"] < record["loss"]["first"] / 2
    assert record["training"]["steps"] > 0
    assert record["versions"]["torch"]


def test_cards_are_listed_without_torch():
    code = "import sys; import evaluator.models.tiny.cards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_card_of_tiny_clip_tells_the_truth_about_the_model():
    model, card = load("tiny-clip"), CARDS["tiny-clip"]
    images = torch.zeros(3, 3, card.preprocessing.size, card.preprocessing.size)
    with torch.inference_mode():
        projected = model.encode_image(images)
        text = model.encode_text(tokenize(["a", "b"]))
    assert projected.shape == (3, card.projected)
    assert text.shape == (2, card.projected)
    assert model.visual.proj.shape == (card.dimension, card.projected)
    assert model.context_length == card.context_length
    assert flops(model.encode_image, images[:1]) / 1e9 == pytest.approx(card.gflops, rel=0.2)


def test_card_of_tiny_sam_tells_the_truth_about_the_model():
    model, card = load("tiny-sam"), CARDS["tiny-sam"]
    images = torch.zeros(1, 3, card.preprocessing.size, card.preprocessing.size)
    with torch.inference_mode():
        embedding = model.image_encoder(images)
    assert embedding.shape == (1, card.dimension, 16, 16)
    assert model.mask_threshold == card.mask_threshold
    assert flops(model.image_encoder, images) / 1e9 == pytest.approx(card.gflops, rel=0.2)
    torch.testing.assert_close(model.pixel_mean.flatten() / 255, torch.tensor(card.preprocessing.mean))
    torch.testing.assert_close(model.pixel_std.flatten() / 255, torch.tensor(card.preprocessing.std))


def flops(call, images):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:  # with gradients: fused inference kernels are not counted
        call(images)
    return counter.get_total_flops()


def test_zero_shot_opacity_is_found_on_unseen_phantoms():
    scores, labels = zero_shot(PhantomCxr(subjects=150, views=1, seed=77), "opacity")
    assert auc(scores, labels) > 0.8


def test_zero_shot_glaucoma_is_found_on_unseen_phantoms():
    scores, labels = zero_shot(PhantomFundus(subjects=150, seed=77), "glaucoma")
    assert auc(scores, labels) > 0.8


def test_zero_shot_is_blind_when_the_sign_is_invisible():
    adapter = PhantomCxr(subjects=150, views=1, seed=77, disparity=1.0, attribute="age", group="0+")
    scores, labels = zero_shot(adapter, "opacity")
    assert 0.35 < auc(scores, labels) < 0.65


def test_planted_disparity_lowers_auc_in_the_planted_group_only():
    def auc_by_sex(disparity):
        adapter = PhantomCxr(subjects=240, views=1, seed=77, disparity=disparity)
        scores, labels = zero_shot(adapter, "opacity")
        sex = adapter.manifest()["sex"]
        return {group: auc(scores[sex == group], labels[sex == group]) for group in ("female", "male")}

    fair, unfair = auc_by_sex(0.0), auc_by_sex(0.7)
    assert abs(fair["male"] - fair["female"]) < 0.1
    assert unfair["male"] - unfair["female"] > 0.12
    assert unfair["male"] == pytest.approx(fair["male"], abs=1e-6)


def zero_shot(adapter, target):
    from PIL import Image

    model, card = load("tiny-clip"), adapter.card()
    rows = adapter.manifest().to_dict("records")
    drawn = [
        Image.fromarray(adapter.read(row).image).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
        for row in rows
    ]
    images = torch.from_numpy(np.stack([np.asarray(image) for image in drawn])).permute(0, 3, 1, 2)
    prompts = next(p for p in card.prompts if p.target == target)
    with torch.inference_mode():
        features = model.encode_image(normalise(images), normalize=True)
        texts = torch.stack(
            [
                model.encode_text(
                    tokenize([t.format(n) for n in names for t in prompts.templates]), normalize=True
                ).mean(0)
                for names in prompts.names
            ]
        )
    scores = features @ torch.nn.functional.normalize(texts, dim=1).T
    positive = card.target(target).classes.index(card.target(target).positive)
    labels = [row[target] == card.target(target).positive for row in rows]
    return (scores[:, positive] - scores[:, 1 - positive]).numpy(), np.array(labels)


def auc(scores, labels):
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(labels, scores)


def test_box_prompt_beats_a_filled_box_on_unseen_discs():
    own, filled = box_dice("disc")
    assert own.mean() >= 0.8
    assert own.mean() > filled.mean() + 0.05


def test_box_prompt_finds_the_cup_on_unseen_discs():
    own, _ = box_dice("cup")
    assert own.mean() >= 0.7


def box_dice(structure):
    adapter = PhantomFundus(subjects=30, seed=77)
    values = {s.name: s.values for s in adapter.card().structures}[structure]
    model = load("tiny-sam")
    own, filled = [], []
    for row in adapter.manifest().to_dict("records"):
        drawn = adapter.read(row)
        truth = np.isin(drawn.mask, values)
        box = bounding_box(truth)
        image = torch.from_numpy(drawn.image).permute(2, 0, 1)
        with torch.inference_mode():
            answer = model(
                [{"image": image, "original_size": (128, 128), "boxes": torch.tensor([box]).float()}],
                multimask_output=False,
            )
        own.append(dice(answer[0]["masks"][0, 0].numpy(), truth))
        whole = np.zeros_like(truth)
        whole[box[1] : box[3], box[0] : box[2]] = True
        filled.append(dice(whole, truth))
    return np.array(own), np.array(filled)


def bounding_box(truth):
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("count", [1, 5])
def test_decoding_many_pictures_at_once_equals_the_familys_own_forward(count):
    model = load("tiny-sam")
    scenes = [draw_scene(5, number) for number in range(3)]
    random = np.random.default_rng(0)
    for question in (ask_points(scenes, random, 2, count), ask_boxes(scenes, random, 2, 0.05)):
        with torch.inference_mode():
            images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)
            embedding = model.image_encoder((images - model.pixel_mean) / model.pixel_std)
            together, quality = decode(model, embedding, question)
            for picture in range(3):
                own = slice(2 * picture, 2 * picture + 2)
                points = question.points
                sparse, dense = model.prompt_encoder(
                    points=None if points is None else (points[own], torch.ones(points[own].shape[:2])),
                    boxes=None if question.boxes is None else question.boxes[own],
                    masks=None,
                )
                for several, outputs in ((True, slice(1, None)), (False, slice(0, 1))):
                    logits, iou = model.mask_decoder(
                        embedding[picture][None], model.prompt_encoder.get_dense_pe(), sparse, dense, several
                    )
                    full = model.postprocess_masks(logits, (128, 128), (128, 128))
                    torch.testing.assert_close(together[own, outputs], full, atol=1e-3, rtol=1e-4)
                    torch.testing.assert_close(quality[own, outputs], iou, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("number", range(12))
def test_scenes_are_the_same_whenever_they_are_drawn(number):
    one, again = draw_scene(5, number), draw_scene(5, number)
    assert np.array_equal(one.image, again.image)
    assert np.array_equal(one.structures, again.structures)
    assert (one.structures.sum(axis=(1, 2)) >= 30).all()


def test_loss_is_zero_when_every_true_caption_and_no_other_is_matched():
    class Perfect(torch.nn.Module):
        logit_scale = torch.tensor(50.0).log()

        def encode_image(self, images, normalize):
            return torch.eye(2)[images[:, 0, 0, 0].long()]

        def encode_text(self, tokens, normalize):
            return torch.eye(2)[tokens]

    images = torch.tensor([0.0, 0.0, 1.0]).reshape(3, 1, 1, 1)
    captions = torch.tensor([0, 0, 1, 1])
    true = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]).bool()
    assert float(caption_loss(Perfect(), images, captions, true)) == pytest.approx(0, abs=1e-6)
    assert float(caption_loss(Perfect(), images, captions, ~true)) > 10


def test_training_tiny_clip_reduces_the_loss_and_repeats_exactly():
    short = ClipTraining(steps=10, batch=12, chests=16, fundi=16)
    pool = draw_pool(short)
    model, losses = train_clip(short, pool)
    again, same_losses = train_clip(short, pool)
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:2])
    assert losses == same_losses
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_training_tiny_sam_reduces_the_loss():
    _, losses = train_sam(SamTraining(steps=10, batch=3, prompts=1))
    assert np.mean(losses[-3:]) < 0.93 * losses[0]
    assert np.isfinite(losses).all()


def test_another_seed_trains_on_other_pictures():
    short = ClipTraining(steps=1, batch=4, chests=4, fundi=4)
    assert not torch.equal(draw_pool(short).images, draw_pool(replace(short, seed=2)).images)
