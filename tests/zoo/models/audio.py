"""Speech and sound."""

from __future__ import annotations

import torch
import transformers as hf
from seeded import SMALL, WIDE, seeded
from torch import nn

SPEECH = {
    **{key: value for key, value in SMALL.items() if key != "vocab_size"},
    "vocab_size": 32,
    "conv_dim": (32, 32, 32),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 2, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
WHISPER = {
    "vocab_size": 200,
    "num_mel_bins": 16,
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_source_positions": 40,
    "max_target_positions": 64,
    "init_std": WIDE,
    "use_cache": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}


def whisper_encoder() -> nn.Module:
    return seeded(lambda: hf.WhisperModel(hf.WhisperConfig(**WHISPER)).encoder)


def whisper_decoder() -> nn.Module:
    return seeded(lambda: WhisperDecoder(hf.WhisperConfig(**WHISPER)))


class WhisperDecoder(nn.Module):
    """Tokens and what the encoder gave, to logits."""

    def __init__(self, config: hf.WhisperConfig) -> None:
        super().__init__()
        self.model = hf.WhisperForConditionalGeneration(config)

    def forward(self, input_ids: torch.Tensor, encoder_states: torch.Tensor) -> torch.Tensor:
        hidden = self.model.model.decoder(
            input_ids=input_ids, encoder_hidden_states=encoder_states, use_cache=False
        )[0]
        return self.model.proj_out(hidden)


def wav2vec2() -> nn.Module:
    return seeded(lambda: hf.Wav2Vec2ForCTC(hf.Wav2Vec2Config(**SPEECH)))


def hubert() -> nn.Module:
    config = hf.HubertConfig(**SPEECH, feat_extract_norm="layer", do_stable_layer_norm=True)
    return seeded(lambda: hf.HubertModel(config))


def spectrogram() -> nn.Module:
    return seeded(Spectrogram)


class Spectrogram(nn.Module):
    """Log mel-like bands of a wave, and a convolution over them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(64))
        self.register_buffer("bands", torch.rand(20, 33))
        self.net = nn.Sequential(nn.Conv1d(20, 32, 3, padding=1), nn.ReLU(), nn.Conv1d(32, 8, 1))

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(wave, 64, 16, window=self.window, return_complex=True)
        power = spectrum.abs().square()
        return self.net(torch.log(self.bands @ power + 1e-5))


def conformer() -> nn.Module:
    return seeded(lambda: Conformer(64))


class Conformer(nn.Module):
    """Attention with relative positions, gated convolutions along time, half-step feed-forward layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.subsample = nn.Conv1d(20, width, 3, stride=2, padding=1)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.feed = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 128), nn.SiLU(), nn.Linear(128, width)) for _ in range(2)
        )
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.gate = nn.Conv1d(width, 2 * width, 1)
        self.depthwise = nn.Conv1d(width, width, 15, padding=7, groups=width)
        self.point = nn.Conv1d(width, width, 1)
        self.head = nn.Linear(width, 30)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = self.subsample(features).transpose(1, 2)
        x = x + 0.5 * self.feed[0](self.norms[0](x))
        y = self.norms[1](x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = nn.functional.glu(self.gate(self.norms[2](x).transpose(1, 2)), dim=1)
        x = x + self.point(nn.functional.silu(self.depthwise(y))).transpose(1, 2)
        x = x + 0.5 * self.feed[1](self.norms[3](x))
        return self.head(x).log_softmax(-1)
