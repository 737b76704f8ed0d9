"""Series, tables, graphs, points, densities."""

from __future__ import annotations

import torch
import transformers as hf
from seeded import WIDE, seeded
from torch import nn
from torch.nn import functional


def patchtst() -> nn.Module:
    config = hf.PatchTSTConfig(
        num_input_channels=3,
        context_length=48,
        patch_length=8,
        patch_stride=8,
        d_model=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        prediction_length=12,
        init_std=WIDE,
    )
    return seeded(lambda: PatchTST(config))


class PatchTST(nn.Module):
    """What comes after what was."""

    def __init__(self, config: hf.PatchTSTConfig) -> None:
        super().__init__()
        self.model = hf.PatchTSTForPrediction(config)

    def forward(self, past_values: torch.Tensor) -> torch.Tensor:
        return self.model(past_values=past_values).prediction_outputs


SERIES = {
    "prediction_length": 6,
    "context_length": 20,
    "lags_sequence": [1, 2, 3],
    "num_time_features": 2,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "init_std": WIDE,
    "use_cache": False,
}


class Series(nn.Module):
    """The parameters of the next values' distribution."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        past_values: torch.Tensor,
        past_time: torch.Tensor,
        future_values: torch.Tensor,
        future_time: torch.Tensor,
    ) -> torch.Tensor:
        return self.model(
            past_values=past_values,
            past_time_features=past_time,
            past_observed_mask=torch.ones_like(past_values),
            future_values=future_values,
            future_time_features=future_time,
        )[0]


def time_series_transformer() -> nn.Module:
    config = hf.TimeSeriesTransformerConfig(**SERIES)
    return seeded(lambda: Series(hf.TimeSeriesTransformerModel(config)))


def autoformer() -> nn.Module:
    config = hf.AutoformerConfig(**SERIES, moving_average=5)
    return seeded(lambda: Series(hf.AutoformerModel(config)))


class Tagger(nn.Module):
    """Both directions of an LSTM over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 32)
        self.lstm = nn.LSTM(32, 32, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 9)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0])


def lstm() -> nn.Module:
    return seeded(Tagger)


class Recurrent(nn.Module):
    """A GRU whose state goes in and comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(
        self, series: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, state = self.gru(series, state)
        return self.head(hidden[:, -1]), state


def gru() -> nn.Module:
    return seeded(Recurrent)


class Causal(nn.Module):
    """Dilated convolutions that see the past alone."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv1d(8 if n == 0 else 32, 32, 3, dilation=2**n) for n in range(3)]
        self.convs = nn.ModuleList(nn.utils.parametrizations.weight_norm(c) for c in convs)
        self.head = nn.Conv1d(32, 2, 1)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        x = series
        for number, layer in enumerate(self.convs):
            x = functional.elu(layer(functional.pad(x, (2 * 2**number, 0))))
        return self.head(x)


def tcn() -> nn.Module:
    return seeded(Causal)


class TabTransformer(nn.Module):
    """Attention among the categories of a row, joined with its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6 * 20, 32)
        self.register_buffer("offsets", torch.arange(6) * 20)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Sequential(nn.Linear(6 * 32 + 5, 64), nn.SELU(), nn.Linear(64, 2))

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(self.embedding(categories + self.offsets))
        return self.head(torch.cat([hidden.flatten(1), self.norm(numbers)], dim=1))


def tab_transformer() -> nn.Module:
    return seeded(TabTransformer)


class Recommender(nn.Module):
    """DLRM: bags of categories, numbers, and the products of every pair."""

    def __init__(self) -> None:
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(50, 16, mode="sum") for _ in range(3))
        self.bottom = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(16 + 6, 32), nn.ReLU(), nn.Linear(32, 1))
        rows, columns = torch.tril_indices(4, 4, -1)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)

    def forward(self, dense: torch.Tensor, sparse: torch.Tensor) -> torch.Tensor:
        low = self.bottom(dense)
        found = [bag(sparse[:, number]) for number, bag in enumerate(self.bags)]
        all_of = torch.stack([low, *found], dim=1)
        products = torch.einsum("bie,bje->bij", all_of, all_of)[:, self.rows, self.columns]
        return torch.sigmoid(self.top(torch.cat([low, products], dim=1)))


def dlrm() -> nn.Module:
    return seeded(Recommender)


class Messages(nn.Module):
    """Graph convolution: what neighbours say is summed with `index_add`, normalized by degree."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(16, 32), nn.Linear(32, 32)])
        self.head = nn.Linear(32, 3)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges[0], edges[1]
        count = nodes.shape[0]
        ones = torch.ones_like(target, dtype=nodes.dtype)
        degree = torch.zeros(count, dtype=nodes.dtype).index_add(0, target, ones) + 1
        scale = degree.rsqrt()
        x = nodes
        for layer in self.layers:
            y = layer(x)
            said = y[source] * (scale[source] * scale[target]).unsqueeze(-1)
            x = functional.relu(
                y / degree.unsqueeze(-1) + torch.zeros_like(y).index_add(0, target, said)
            )
        return self.head(x)


def gcn() -> nn.Module:
    return seeded(Messages)


class Attentive(nn.Module):
    """Graph attention: a softmax over each node's edges, with `scatter_reduce`."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(16, 32)
        self.score = nn.Linear(64, 1)
        self.head = nn.Linear(32, 3)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges[0], edges[1]
        count = nodes.shape[0]
        x = self.project(nodes)
        score = functional.leaky_relu(
            self.score(torch.cat([x[source], x[target]], -1)), 0.2
        ).squeeze(-1)
        least = torch.full((count,), -1e4, dtype=x.dtype)
        top = least.scatter_reduce(0, target, score, "amax", include_self=True)
        weight = torch.exp(score - top[target])
        total = torch.zeros(count, dtype=x.dtype).scatter_add(0, target, weight)
        weight = weight / total[target].clamp(min=1e-9)
        index = target.unsqueeze(-1).expand(-1, 32)
        out = torch.zeros(count, 32, dtype=x.dtype).scatter_add(
            0, index, x[source] * weight.unsqueeze(-1)
        )
        return self.head(functional.elu(out + x))


def gat() -> nn.Module:
    return seeded(Attentive)


class Points(nn.Module):
    """Edge convolution over the nearest neighbours of each point, by `cdist` and `topk`."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32))
        self.head = nn.Linear(32, 8)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        near = torch.cdist(points, points).topk(4, dim=-1, largest=False).indices
        batch, count, _ = points.shape
        index = near.reshape(batch, -1, 1).expand(-1, -1, 3)
        others = points.gather(1, index).view(batch, count, 4, 3)
        centre = points.unsqueeze(2).expand_as(others)
        edges = self.edge(torch.cat([centre, others - centre], dim=-1))
        return self.head(edges.amax(2).amax(1))


def point_cloud() -> nn.Module:
    return seeded(Points)


class Flow(nn.Module):
    """RealNVP: half of the numbers say how the other half is scaled and shifted; a density comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 8)) for _ in range(4)
        )
        self.register_buffer("order", torch.tensor([4, 5, 6, 7, 0, 1, 2, 3]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        volume = torch.zeros_like(x[..., 0])
        for net in self.nets:
            keep, change = x[..., :4], x[..., 4:]
            scale, shift = net(keep).chunk(2, dim=-1)
            scale = scale.tanh()
            x = torch.cat([keep, change * scale.exp() + shift], dim=-1)[..., self.order]
            volume = volume + scale.sum(-1)
        prior = torch.distributions.Normal(0.0, 1.0, validate_args=False)
        return x, prior.log_prob(x).sum(-1) + volume


def flow() -> nn.Module:
    return seeded(Flow)
