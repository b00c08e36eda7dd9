"""LVM-Med's image encoder: Segment Anything's architecture without absolute positions, before its neck."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from transformer_layouts import drawn, length_and_gflops

from evaluator.models.families import sam_encoder as family
from evaluator.models.loading import load_model
from evaluator.models.preprocess import Preprocessor, normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import MissingWeights, locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
CARD = REGISTRY.card("lvm-med-vit-b")
GLOBAL = (2, 5, 8, 11)


def shapes():
    """Names and shapes of ``lvmmed_vit.pth``: flat, no prefix, no ``pos_embed``, with the neck."""
    found = {
        "patch_embed.proj.weight": (768, 3, 16, 16),
        "patch_embed.proj.bias": (768,),
        "neck.0.weight": (256, 768, 1, 1),
        "neck.1.weight": (256,),
        "neck.1.bias": (256,),
        "neck.2.weight": (256, 256, 3, 3),
        "neck.3.weight": (256,),
        "neck.3.bias": (256,),
    }
    for block in range(12):
        reach = 127 if block in GLOBAL else 27  # twice the grid of 1024 pixels, or the window of 14, less one
        inner = {
            "norm1.weight": (768,),
            "norm1.bias": (768,),
            "attn.rel_pos_h": (reach, 64),
            "attn.rel_pos_w": (reach, 64),
            "attn.qkv.weight": (2304, 768),
            "attn.qkv.bias": (2304,),
            "attn.proj.weight": (768, 768),
            "attn.proj.bias": (768,),
            "norm2.weight": (768,),
            "norm2.bias": (768,),
            "mlp.lin1.weight": (3072, 768),
            "mlp.lin1.bias": (3072,),
            "mlp.lin2.weight": (768, 3072),
            "mlp.lin2.bias": (768,),
        }
        found |= {f"blocks.{block}.{name}": shape for name, shape in inner.items()}
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with a file of the published layout, and its tensors."""
    folder = tmp_path_factory.mktemp("weights")
    state = drawn(shapes())
    torch.save(state, folder / CARD.weights.file)
    return folder, state


@pytest.fixture(scope="module")
def model(published):
    return load_model(CARD, locate(CARD, [published[0]]))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels(count):
    return torch.randint(
        0, 256, (count, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def by_transformers(state, images):
    """The mean of the last block's output, by the transformers library's own code of this encoder."""
    from transformers.models.sam.configuration_sam import SamVisionConfig
    from transformers.models.sam.modeling_sam import SamVisionEncoder

    config = SamVisionConfig(use_abs_pos=False, use_rel_pos=True, layer_norm_eps=1e-6, image_size=1024)
    network = SamVisionEncoder(config).eval()
    network.neck = torch.nn.Identity()
    network.patch_embed.image_size = (224, 224)  # it would refuse others; nothing else of it depends on this
    renamed = {
        name.replace("blocks.", "layers.")
        .replace("patch_embed.proj.", "patch_embed.projection.")
        .replace(".norm1.", ".layer_norm1.")
        .replace(".norm2.", ".layer_norm2."): tensor
        for name, tensor in state.items()
        if not name.startswith("neck.")
    }
    network.load_state_dict(renamed, strict=True)
    with torch.inference_mode():
        seen = []
        network.layers[-1].register_forward_hook(lambda _, __, output: seen.append(output))
        network(images)
    last = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    assert last.shape[1:] == (14, 14, 768)
    return last.mean(dim=(1, 2))


def test_features_of_the_published_layout_equal_those_of_transformers(published, model):
    images = pixels(1)
    found = model.encode(images).features
    mean, std = (
        torch.tensor(part).view(3, 1, 1) for part in (CARD.preprocessing.mean, CARD.preprocessing.std)
    )
    expected = by_transformers(published[1], (images.float() / 255 - mean) / std)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_one_image_keeps_its_batch_axis_and_equals_itself_among_others(model):
    both = model.encode(pixels(2))
    alone = model.encode(pixels(2)[:1])
    assert alone.features.shape == (1, 768)
    assert both.features.shape == (2, 768)
    assert alone.projected is None
    torch.testing.assert_close(alone.features, both.features[:1], rtol=1e-4, atol=1e-4)


def test_bfloat16_gives_float32_features_close_to_full_precision(published, model):
    images = pixels(1)
    half = load_model(CARD, locate(CARD, [published[0]]), precision="bf16").encode(images).features
    full = model.encode(images).features
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    assert torch.nn.functional.cosine_similarity(half, full).min() > 0.99


def test_features_do_not_depend_on_the_neck(published, model, tmp_path):
    other = {**published[1], "neck.0.weight": torch.zeros(256, 768, 1, 1)}
    torch.save(other, tmp_path / CARD.weights.file)
    again = load_model(CARD, locate(CARD, [tmp_path]))
    assert torch.equal(again.encode(pixels(1)).features, model.encode(pixels(1)).features)


def test_file_is_read_once_and_onto_the_cpu(published, monkeypatch):
    calls = []
    real = torch.load

    def spy(path, **options):
        calls.append(options["map_location"])
        return real(path, **options)

    monkeypatch.setattr(torch, "load", spy)
    load_model(CARD, locate(CARD, [published[0]]))
    assert calls == ["cpu"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.3.attn.rel_pos_h": None}, r"1 missing: blocks\.3\.attn\.rel_pos_h"),
        ({"neck.2.weight": None}, r"1 missing: neck\.2\.weight"),
        ({"pos_embed": torch.zeros(1, 64, 64, 768)}, r"1 unexpected: pos_embed"),
        (
            {"blocks.2.attn.rel_pos_h": torch.zeros(27, 64)},
            r"rel_pos_h \(expected \[127, 64\], found \[27, 64\]",
        ),
    ],
)
def test_files_of_other_encoders_are_refused(published, tmp_path, change, message):
    state = {name: tensor for name, tensor in {**published[1], **change}.items() if tensor is not None}
    torch.save(state, tmp_path / CARD.weights.file)
    with pytest.raises(UserError, match=message):
        load_model(CARD, locate(CARD, [tmp_path]))


@pytest.mark.parametrize("size", [(224, 224), (301, 97), (31, 45)])
def test_pixels_equal_those_of_the_publishers_classification(size):
    oracle = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    framed = Preprocessor(CARD.preprocessing)(image)
    found = normalise(torch.from_numpy(framed.pixels)[None], CARD.preprocessing)[0]
    torch.testing.assert_close(found, oracle(Image.fromarray(image)), rtol=0, atol=0)


def test_cost_and_length_on_the_card_are_those_of_the_network():
    with torch.device("meta"):
        network = family.build(CARD).eval().requires_grad_(False)
    family.without_neck(network)
    length, gflops = length_and_gflops(lambda images: network(images).mean(dim=(2, 3)), 224)
    assert length == CARD.dimension
    assert CARD.gflops == pytest.approx(gflops, rel=0.01)


@pytest.mark.parametrize("spelling", ["MedLVM", "LVM-Med", "lvm_med_vit_b"])
def test_names_of_papers_are_accepted(spelling):
    assert REGISTRY.card(spelling).name == "lvm-med-vit-b"


def test_missing_weights_name_file_page_and_licence(tmp_path):
    with pytest.raises(MissingWeights) as caught:
        locate(CARD, [tmp_path])
    for part in ("lvmmed_vit.pth", "github.com/duyhominhnguyen/LVM-Med", "CC-BY-NC-ND-2.0"):
        assert part in str(caught.value)
