"""Networks that give no class scores: what needs none measures them, and what needs some says what they give."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import alternet as an
from alternet.probe.probe import Probe

transformers = pytest.importorskip("transformers", reason="needs the extra hf")

VISION = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}


def images(side: int, count: int = 3) -> an.Batches:
    values = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return an.Batches.of(values, torch.arange(count) % 2)


def clip() -> nn.Module:
    config = transformers.CLIPConfig(
        text_config={**TEXT, "max_position_embeddings": 8},
        vision_config={**VISION, "intermediate_size": 32},
        projection_dim=8,
    )
    return transformers.CLIPModel(config)


def segformer() -> nn.Module:
    widths = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]}
    return transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(**widths, decoder_hidden_size=8, num_labels=5)
    )


def masked() -> nn.Module:
    decoder = {"decoder_hidden_size": 8, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 1}
    config = transformers.ViTMAEConfig(**VISION, intermediate_size=32, **decoder, decoder_intermediate_size=8)
    return transformers.ViTMAEForPreTraining(config)


def lraspp() -> nn.Module:
    return torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)


class OpenClip(nn.Module):
    """As open_clip and OpenAI's CLIP are made: a tower for images beside one for text."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = timm.create_model("test_resnet", num_classes=0)
        self.transformer = nn.Linear(2, 2)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        return self.visual(image) @ self.transformer(text)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "num_classes=0": (lambda: timm.create_model("test_resnet", num_classes=0), 32),
    "without pooling": (lambda: timm.create_model("test_resnet", num_classes=0, global_pool=""), 32),
    "a list of maps": (lambda: timm.create_model("test_resnet", features_only=True), 32),
    "a list of maps of a ViT": (lambda: timm.create_model("test_vit", features_only=True, img_size=32), 32),
    "LRASPP": (lraspp, 32),
    "Segformer": (segformer, 32),
    "CLIP": (clip, 28),
    "open_clip": (OpenClip, 32),
    "DINOv2": (lambda: transformers.Dinov2Model(transformers.Dinov2Config(**VISION)), 28),
    "SigLIP": (
        lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**VISION, intermediate_size=32)),
        28,
    ),
}


OTHER_CLASSES = pytest.mark.filterwarnings("ignore:.* class k of the one for class k of the other")


@OTHER_CLASSES
@pytest.mark.parametrize("kind", NETWORKS)
def test_feature_maps_of_any_network_are_measured_and_calibration_says_what_it_gives(kind: str):
    make, side = NETWORKS[kind]
    subject = an.Subject(make(), name="mine", input_size=(3, side, side))
    data = images(side)
    table = an.Variance().measure(subject, data).table
    assert len(table) == len(subject.taps) > 2 and table["variance"].gt(0).any()
    with pytest.raises(ValueError, match="has no classifier|expected logits"):
        an.Calibration().measure(subject, data)


def test_a_network_without_class_scores_answers_with_none():
    subject = an.Subject(timm.create_model("test_resnet", features_only=True), name="mine", input_size=(3, 32, 32))
    with Probe(subject) as probe:
        assert probe.observe(torch.rand(3, 3, 32, 32), lambda tap, feature: None).shape == (3, 0)


def test_features_are_the_same_with_a_head_and_without():
    torch.manual_seed(0)
    whole = timm.create_model("test_vit", img_size=32)
    without = timm.create_model("test_vit", img_size=32, num_classes=0)
    without.load_state_dict({key: value for key, value in whole.state_dict().items() if not key.startswith("head.")})
    tables = [an.Fourier().measure(an.Subject(net, name="a"), images(32)).table for net in (whole, without)]
    assert tables[0].equals(tables[1])


@OTHER_CLASSES
def test_a_segmentation_network_is_told_that_its_scores_are_maps():
    subject = an.Subject(segformer(), name="seg", input_size=(3, 32, 32))
    with pytest.raises(ValueError, match=r"seg returned a tensor of shape \(3, 5, 8, 8\) \(a map, with an answer"):
        an.Calibration().measure(subject, images(32))


def test_of_a_pair_for_images_and_text_the_tower_for_images_is_measured():
    pair = clip()
    subject = an.Subject(pair, name="clip")
    assert subject.model is pair.vision_model and subject.input_size == (3, 28, 28)
    assert subject.origin["tower"] == "vision_model" and not subject.classifies


def test_what_cannot_be_observed_says_why():
    detector = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    with pytest.raises(ValueError, match="a dictionary for each, as detection networks do.*model.backbone"):
        an.Subject(detector, name="detector", input_size=(3, 32, 32)).taps  # noqa: B018
    assert len(an.Subject(detector.backbone, name="backbone", input_size=(3, 64, 64)).taps) > 10


@pytest.mark.parametrize(
    ("make", "kind"), [(clip, "CLIPVision"), (segformer, "SegformerForSemanticSegmentation"), (masked, "ViTModel")]
)
def test_models_of_transformers_are_loaded_as_what_they_were_saved_as(
    make: Callable[[], nn.Module], kind: str, tmp_path: Path
):
    made = make()
    made.save_pretrained(tmp_path)
    size = {"img_size": 32} if kind.startswith("Segformer") else {}
    subject = an.load(f"hf:{tmp_path}", name="mine", **size)
    assert type(subject.model).__name__.startswith(kind)
    assert "drawn" not in subject.origin["weights"]
    table = an.Variance().measure(subject, images(subject.input_size[1])).table
    assert len(table) > 3


def test_an_encoder_of_masked_patches_sees_the_whole_image_with_its_own_weights(tmp_path: Path):
    made = masked()
    made.save_pretrained(tmp_path)
    encoder = an.load(f"hf:{tmp_path}").model
    ours, theirs = encoder.state_dict(), made.vit.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_transformers_may_be_asked_for_another_number_of_classes_or_for_none(tmp_path: Path):
    config = transformers.ViTConfig(**VISION, intermediate_size=32, num_labels=5)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    assert an.load(f"hf:{tmp_path}").model.classifier.out_features == 5
    assert an.load(f"hf:{tmp_path}", num_classes=3).origin["weights"]["drawn"] == [
        "classifier.bias",
        "classifier.weight",
    ]
    without = an.load(f"hf:{tmp_path}", num_classes=0)
    assert not without.classifies and "drawn" not in without.origin["weights"]


def test_weights_of_a_backbone_are_loaded_without_a_head_and_at_another_size(tmp_path: Path):
    depth = {"depth": 1}
    torch.manual_seed(0)
    saved = timm.create_model("vit_small_patch14_dinov2", **depth)
    assert saved.patch_embed.img_size == (518, 518)
    torch.save(saved.state_dict(), file := tmp_path / "dino.pth")
    own = an.load(f"vit_small_patch14_dinov2@{file}", model_args=depth)
    assert own.input_size == (3, 518, 518) and not own.classifies
    small = an.load(f"vit_small_patch14_dinov2@{file}", model_args=depth, img_size=56)
    assert small.input_size == (3, 56, 56)
    assert torch.equal(small.model.blocks[0].attn.qkv.weight, saved.blocks[0].attn.qkv.weight)
    resampled = timm.layers.resample_abs_pos_embed(saved.pos_embed, [4, 4], [37, 37])
    torch.testing.assert_close(small.model.pos_embed, resampled)


@pytest.mark.parametrize(("classes", "known"), [(None, 0), (0, 0)])
def test_a_file_without_a_head_fits_the_model_without_one(classes: int | None, known: int, tmp_path: Path):
    saved = timm.create_model("test_vit", num_classes=0 if classes is None else 5)
    torch.save(saved.state_dict(), file := tmp_path / "w.pth")
    assert an.load(f"test_vit@{file}", num_classes=classes).model.num_classes == known
    assert not an.load(f"test_vit@{file}", num_classes=classes).classifies


def test_what_a_pass_adds_to_a_module_is_taken_away():
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.body = nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())

        def forward(self, x: Tensor) -> Tensor:
            if not getattr(self, "hooked", False):
                self.conv.register_forward_hook(
                    lambda module, given, output: setattr(self, "seen", output.mean().item())
                )
                self.hooked = True
            return self.body(self.conv(x)) + self.seen

    subject = an.Subject(Lazy(), name="lazy", input_size=(3, 8, 8))
    before = set(vars(subject.model))
    an.Variance().measure(subject, images(8))
    assert set(vars(subject.model)) == before and not subject.model.conv._forward_hooks
