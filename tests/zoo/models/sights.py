"""Vision, from the configurations of `transformers`."""

from __future__ import annotations

import torch
import transformers as hf
from seeded import SMALL, WIDE, seeded, settled
from torch import nn

SIZES = {key: value for key, value in SMALL.items() if key != "vocab_size"}


def vit() -> nn.Module:
    config = hf.ViTConfig(**SIZES, image_size=32, patch_size=8, num_labels=10)
    return seeded(lambda: hf.ViTForImageClassification(config))


def dinov2() -> nn.Module:
    config = hf.Dinov2Config(**SIZES, image_size=56, patch_size=14, mlp_ratio=2)
    return seeded(lambda: hf.Dinov2Model(config))


def beit() -> nn.Module:
    config = hf.BeitConfig(
        **SIZES, image_size=32, patch_size=8, num_labels=10, use_relative_position_bias=True
    )
    return seeded(lambda: hf.BeitForImageClassification(config))


def swin() -> nn.Module:
    config = hf.SwinConfig(
        image_size=32,
        patch_size=2,
        embed_dim=16,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
        num_labels=10,
        initializer_range=WIDE,
    )
    return seeded(lambda: hf.SwinForImageClassification(config))


def convnext() -> nn.Module:
    config = hf.ConvNextConfig(
        hidden_sizes=[16, 32], depths=[2, 2], num_stages=2, num_labels=10, initializer_range=WIDE
    )
    return seeded(lambda: hf.ConvNextForImageClassification(config))


def mobilevit() -> nn.Module:
    config = hf.MobileViTConfig(
        image_size=64,
        hidden_sizes=[32, 48, 64],
        neck_hidden_sizes=[16, 16, 24, 32, 40, 48, 64],
        num_attention_heads=4,
        num_labels=10,
        initializer_range=WIDE,
    )
    return settled(seeded(lambda: hf.MobileViTForImageClassification(config)), (4, 3, 64, 64))


def segformer() -> nn.Module:
    config = hf.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[32, 64],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=32,
        num_labels=5,
        initializer_range=WIDE,
    )
    return settled(seeded(lambda: hf.SegformerForSemanticSegmentation(config)), (4, 3, 64, 64))


def dpt() -> nn.Module:
    config = hf.DPTConfig(
        **{**SIZES, "num_hidden_layers": 4},
        image_size=64,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[16, 24, 32, 32],
        fusion_hidden_size=16,
        is_hybrid=False,
    )
    return seeded(lambda: hf.DPTForDepthEstimation(config))


RESNET = {
    "embedding_size": 16,
    "hidden_sizes": [16, 32, 48, 64],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}


def detr() -> nn.Module:
    return settled(seeded(lambda: Detr(hf.DetrConfig(**DETECTION))), (2, 3, 64, 64))


DETECTION = {
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
    "backbone_config": hf.ResNetConfig(**RESNET, out_features=["stage4"]),
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "num_queries": 10,
    "num_labels": 6,
    "init_std": WIDE,
}


class Detr(nn.Module):
    """Boxes and classes."""

    def __init__(self, config: hf.DetrConfig) -> None:
        super().__init__()
        self.model = hf.DetrForObjectDetection(config)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.model(pixel_values=image)
        return out.logits, out.pred_boxes


def deformable_detr() -> nn.Module:
    several = hf.ResNetConfig(**RESNET, out_features=["stage3", "stage4"])
    config = hf.DeformableDetrConfig(
        **{**DETECTION, "backbone_config": several}, num_feature_levels=2, two_stage=False
    )
    return settled(seeded(lambda: DeformableDetr(config)), (2, 3, 64, 64))


class DeformableDetr(nn.Module):
    """Boxes and classes, by attention that samples the image's features where it likes."""

    def __init__(self, config: hf.DeformableDetrConfig) -> None:
        super().__init__()
        self.model = hf.DeformableDetrForObjectDetection(config)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.model(pixel_values=image)
        return out.logits, out.pred_boxes


def mask2former() -> nn.Module:
    swin = hf.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[2, 2, 4, 4],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        initializer_range=WIDE,
    )
    config = hf.Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=64,
        dim_feedforward=64,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=4,
        num_queries=6,
        num_labels=5,
    )
    return seeded(lambda: Mask2Former(config))


class Mask2Former(nn.Module):
    """A class and a mask for each query."""

    def __init__(self, config: hf.Mask2FormerConfig) -> None:
        super().__init__()
        self.model = hf.Mask2FormerForUniversalSegmentation(config)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.model(pixel_values=image)
        return out.class_queries_logits, out.masks_queries_logits


PAIR = {
    "text_config": {**SMALL, "max_position_embeddings": 32, "eos_token_id": 2},
    "vision_config": {**SIZES, "image_size": 32, "patch_size": 8},
}


def clip() -> nn.Module:
    config = hf.CLIPConfig(**PAIR, projection_dim=32)
    return seeded(lambda: Pair(hf.CLIPModel(config)))


def siglip() -> nn.Module:
    return seeded(lambda: Pair(hf.SiglipModel(hf.SiglipConfig(**PAIR))))


class Pair(nn.Module):
    """How well each text goes with each image, and both embeddings."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = self.model(input_ids=input_ids, pixel_values=image)
        return out.logits_per_image, out.text_embeds, out.image_embeds


def videomae() -> nn.Module:
    config = hf.VideoMAEConfig(
        **SIZES, image_size=16, patch_size=8, num_frames=4, tubelet_size=2, num_labels=6
    )
    return seeded(lambda: hf.VideoMAEForVideoClassification(config))
