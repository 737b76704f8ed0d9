"""Models that go step by step: as many steps as an input has, or as the code says."""

from __future__ import annotations

import torch
from seeded import seeded
from torch import nn
from torch.nn import functional


class ConvLSTM(nn.Module):
    """A recurrence whose state is an image; every frame gives one."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 + 8, 32, 3, padding=1)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, video: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch, frames, _, height, width = video.shape
        hidden = torch.zeros(batch, 8, height, width, device=video.device)
        memory = torch.zeros_like(hidden)
        outputs = []
        for frame in range(frames):
            gates = self.gates(torch.cat([video[:, frame], hidden], dim=1))
            enter, forget, leave, new = torch.split(gates, 8, dim=1)
            memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(new)
            hidden = torch.sigmoid(leave) * torch.tanh(memory)
            outputs.append(self.head(hidden))
        return torch.stack(outputs, dim=1), memory


def conv_lstm() -> nn.Module:
    return seeded(ConvLSTM)


class Flow(nn.Module):
    """A differential equation, solved by Runge and Kutta's method at the times that are given."""

    def __init__(self) -> None:
        super().__init__()
        self.field = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 2))

    def slope(self, time: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        return self.field(torch.cat([place, time.expand(place.shape[0], 1)], dim=1))

    def forward(self, place: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        places = [place]
        for step in range(times.shape[0] - 1):
            now, span = times[step], times[step + 1] - times[step]
            first = self.slope(now, place)
            second = self.slope(now + span / 2, place + span / 2 * first)
            third = self.slope(now + span / 2, place + span / 2 * second)
            last = self.slope(now + span, place + span * third)
            place = place + span / 6 * (first + 2 * second + 2 * third + last)
            places.append(place)
        return torch.stack(places)


def neural_ode() -> nn.Module:
    return seeded(Flow)


class Translator(nn.Module):
    """Bahdanau's attention over what a GRU has read, by a cell for each token that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(50, 32), nn.Embedding(50, 32)
        self.encoder = nn.GRU(32, 32, batch_first=True, bidirectional=True)
        self.start, self.query = nn.Linear(64, 32), nn.Linear(96, 32)
        self.score = nn.Linear(32, 1)
        self.cell = nn.GRUCell(96, 32)
        self.head = nn.Linear(32, 50)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        read, last = self.encoder(self.source(source))
        state = torch.tanh(self.start(torch.cat([last[0], last[1]], dim=1)))
        outputs = []
        for step in range(target.shape[1]):
            asked = state.unsqueeze(1).repeat(1, source.shape[1], 1)
            score = self.score(torch.tanh(self.query(torch.cat([asked, read], dim=2)))).squeeze(2)
            weights = score.masked_fill(source == 0, -1e10).softmax(dim=1)
            seen = torch.bmm(weights.unsqueeze(1), read).squeeze(1)
            state = self.cell(torch.cat([self.target(target[:, step]), seen], dim=1), state)
            outputs.append(self.head(state))
        return torch.stack(outputs, dim=1)


def gru_attention() -> nn.Module:
    return seeded(Translator)


class Speaker(nn.Module):
    """Tacotron's decoder: six frames, each from attention that knows where it has looked before."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 32)
        self.encoder = nn.LSTM(32, 16, batch_first=True, bidirectional=True)
        self.prenet = nn.Linear(20, 16)
        self.attending, self.decoding = nn.LSTMCell(48, 32), nn.LSTMCell(64, 32)
        self.query, self.key = nn.Linear(32, 16, bias=False), nn.Linear(32, 16, bias=False)
        self.place = nn.Conv1d(2, 16, 7, padding=3)
        self.score = nn.Linear(16, 1, bias=False)
        self.frame = nn.Linear(64, 20)

    def forward(self, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        read, _ = self.encoder(self.embedding(text))
        key = self.key(read)
        nothing = read.new_zeros(text.shape[0], 32)
        first, second = (nothing, nothing), (nothing, nothing)
        seen, frame = nothing, read.new_zeros(text.shape[0], 20)
        weights = total = torch.zeros_like(text, dtype=read.dtype)
        frames, alignments = [], []
        for _ in range(6):
            first = self.attending(torch.cat([self.prenet(frame).relu(), seen], -1), first)
            place = self.place(torch.stack([weights, total], dim=1)).transpose(1, 2)
            score = self.score(torch.tanh(self.query(first[0]).unsqueeze(1) + key + place))
            weights = score.squeeze(-1).softmax(dim=1)
            total = total + weights
            seen = torch.bmm(weights.unsqueeze(1), read).squeeze(1)
            second = self.decoding(torch.cat([first[0], seen], -1), second)
            frame = self.frame(torch.cat([second[0], seen], -1))
            frames.append(frame)
            alignments.append(weights)
        return torch.stack(frames, dim=1), torch.stack(alignments, dim=1)


def tacotron() -> nn.Module:
    return seeded(Speaker)


class Interest(nn.Module):
    """DIN: how much each thing of a history, of any length, has to do with the one that is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16, padding_idx=0)
        self.hidden, self.score = nn.Linear(64, 32), nn.Linear(32, 1)
        self.norm = nn.BatchNorm1d(32, affine=False)
        self.slope = nn.Parameter(torch.full((32,), 0.1))
        self.head = nn.Sequential(nn.Linear(32, 16), nn.PReLU(), nn.Linear(16, 2))

    def forward(
        self, item: torch.Tensor, history: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        asked, keys = self.embedding(item), self.embedding(history)
        query = asked[:, None].expand_as(keys)
        hidden = self.hidden(torch.cat([query, keys, query - keys, query * keys], dim=-1))
        part = torch.sigmoid(self.norm(hidden.reshape(-1, 32))).reshape(hidden.shape)
        score = self.score(part * hidden + (1 - part) * self.slope * hidden).transpose(1, 2)
        places = torch.arange(history.shape[1], device=history.device)
        known = places[None, None] < lengths[:, None, None]
        score = torch.where(known, score, torch.full_like(score, float("-inf"))).softmax(-1)
        return functional.log_softmax(
            self.head(torch.cat([asked, (score @ keys).squeeze(1)], -1)), dim=1
        )


def din() -> nn.Module:
    return seeded(Interest)
