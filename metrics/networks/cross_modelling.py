"""The network of MPS behind its CLIP: image tokens that attend to the words of a prompt, then to each other.

Each layer is two residual blocks over image tokens [1, N, D]. The first: queries of the image, one key and one value
per word for all heads, beside a SwiGLU feedforward. The second: attention among the image tokens, with rotary
positions (Su et al. 2021, arXiv 2104.09864) and one key and value for all heads (Shazeer 2019, arXiv 1911.02150),
beside a SwiGLU feedforward (Shazeer 2020, arXiv 2002.05202). Norms have no offset. Names of parameters are those of
the published state dict, so that it loads as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD = 64
"""The width of a head in the published network."""


class _Norm(nn.Module):
    """A layer norm whose offset is kept in the state dict and is zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.register_buffer("bias", torch.zeros(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return functional.layer_norm(tokens, tokens.shape[-1:], self.weight, self.get_buffer("bias"))


class _SwiGLU(nn.Module):
    def forward(self, both: Tensor) -> Tensor:
        values, gate = both.chunk(2, dim=-1)
        return values * functional.silu(gate)


def _heads(tokens: Tensor, width: int) -> Tensor:
    """[B, N, H * width] -> [B, H, N, width]."""
    heads: Tensor = tokens.unflatten(-1, (-1, width)).transpose(1, 2)
    return heads


def _attend(queries: Tensor, keys: Tensor, values: Tensor, kept: Tensor | None = None) -> Tensor:
    """Queries [B, H, N, d] over one key and value [B, M, d] for all heads -> [B, N, H * d]; `kept` [B, M] is bool."""
    scores = queries @ keys.transpose(1, 2).unsqueeze(1) * queries.shape[-1] ** -0.5
    if kept is not None:
        scores = scores.masked_fill(~kept[:, None, None, :], -torch.inf)
    found: Tensor = scores.softmax(dim=-1) @ values.unsqueeze(1)
    return found.transpose(1, 2).flatten(2)


class _ToWords(nn.Module):
    """Image tokens look at the words that are kept."""

    def __init__(self, width: int, head: int, grow: int) -> None:
        super().__init__()
        self.head = head
        self.norm = _Norm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * head, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)
        inner = width * grow
        self.ff = nn.Sequential(nn.Linear(width, 2 * inner, bias=False), _SwiGLU(), nn.Linear(inner, width, bias=False))

    def forward(self, tokens: Tensor, words: Tensor, kept: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        keys, values = self.to_kv(words).chunk(2, dim=-1)
        seen = self.to_out(_attend(_heads(self.to_q(tokens), self.head), keys, values, kept))
        both: Tensor = seen + self.ff(tokens)
        return both


class _Rotary(nn.Module):
    def __init__(self, head: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** -(torch.arange(0, head, 2) / head))

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn [..., N, d] by the angles of the positions 0 .. N-1; halves of the width are the two coordinates."""
        places = torch.arange(tokens.shape[-2], device=tokens.device, dtype=torch.float32)
        angles = torch.outer(places, self.get_buffer("inv_freq").float())
        cosine, sine = angles.cos().to(tokens.dtype), angles.sin().to(tokens.dtype)
        first, second = tokens.chunk(2, dim=-1)
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class _ToImage(nn.Module):
    """Image tokens look at each other."""

    def __init__(self, width: int, head: int, grow: int) -> None:
        super().__init__()
        self.head = head
        self.sizes = (width, head, head, 2 * width * grow)
        self.norm = _Norm(width)
        self.rotary_emb = _Rotary(head)
        self.fused_attn_ff_proj = nn.Linear(width, sum(self.sizes), bias=False)
        self.attn_out = nn.Linear(width, width, bias=False)
        self.ff_out = nn.Sequential(_SwiGLU(), nn.Linear(width * grow, width, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        queries, keys, values, more = self.fused_attn_ff_proj(self.norm(tokens)).split(self.sizes, dim=-1)
        turned = self.rotary_emb(_heads(queries, self.head))
        seen = self.attn_out(_attend(turned, self.rotary_emb(keys), values))
        both: Tensor = seen + self.ff_out(more)
        return both


class _Residual(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.fn = block

    def forward(self, tokens: Tensor, *others: Tensor) -> Tensor:
        found: Tensor = self.fn(tokens, *others)
        return found + tokens


class CrossModel(nn.Module):
    """Layers of both blocks over width `width`; `head` is the width of a head, `grow` that of the feedforward."""

    def __init__(self, width: int, layers: int, head: int = HEAD, grow: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([_Residual(_ToWords(width, head, grow)), _Residual(_ToImage(width, head, grow))])
            for _ in range(layers)
        )

    def forward(self, tokens: Tensor, words: Tensor, kept: Tensor) -> Tensor:
        """Image tokens [B, N, D], words [B, M, D], which words are kept [B, M] -> image tokens [B, N, D]."""
        for pair in self.layers:
            assert isinstance(pair, nn.ModuleList)
            tokens = pair[1](pair[0](tokens, words, kept))
        return tokens
