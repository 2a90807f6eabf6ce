"""The built-in transformer, in nothing but torch: what most processes of a run start with must start quickly.

Pre-norm decoder, RMSNorm, gated feed-forward, tied embeddings, smeared keys, rotary or no positions (NoPE extrapolates
in length). Shapes: B batch, T new tokens, S all tokens, H heads, E head width, D model width, V vocabulary.

Not here: the same model as one of the `transformers` library (`hub.py`), training, sampling, structure edits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evolvent.models.cache import Cache
from evolvent.precheck.texts import BUILT_IN


@dataclass(frozen=True, kw_only=True)
class EvolventConfig:
    """Configuration of the built-in transformer.

    Attributes:
        vocab_size: V.
        hidden_size: D.
        num_hidden_layers: blocks.
        num_attention_heads: H; divides D.
        intermediate_size: width of the gated feed-forward.
        positions: ``rope`` or ``none``.
        smear: smeared keys and an initialisation that copies from the first step: for finding names. Without them, what
            is learned at one length carries further (`docs/log.md`).
        others: entries of ``config.json`` that others wrote; they are kept as they are.

    Raises:
        ValueError: positions of another kind, or heads that do not divide the width.
    """

    vocab_size: int = 256
    hidden_size: int = 128
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 256
    positions: str = "rope"
    smear: bool = True
    others: Mapping[str, Any] = field(default_factory=lambda: {"pad_token_id": 0, "eos_token_id": 1})

    def __post_init__(self) -> None:
        if self.positions not in ("rope", "none"):
            raise ValueError(f"positions: expected rope or none, got {self.positions!r}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size: expected a multiple of {self.num_attention_heads} heads, got {self.hidden_size}"
            )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> EvolventConfig:
        """The configuration in a ``config.json``."""
        own = {name: plain[name] for name in _OWN if name in plain}
        return cls(**own, others={k: v for k, v in plain.items() if k not in own and k != "model_type"})

    def plain(self) -> dict[str, Any]:
        """As ``config.json`` holds it."""
        return {**self.others, **{name: getattr(self, name) for name in _OWN}, "model_type": BUILT_IN}


_OWN = tuple(entry.name for entry in fields(EvolventConfig) if entry.name != "others")


Rotation = tuple[Tensor, Tensor]


def _rotation(positions_BT: Tensor, width: int) -> Rotation:
    """Cosines and sines of rotary positions, ``(B, 1, T, E/2)`` each; once a forward pass, for all layers."""
    half = width // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float32, device=positions_BT.device) / half)
    angles = positions_BT[:, None, :, None].float() * frequencies
    return angles.cos(), angles.sin()


def _rotate(x_BHTE: Tensor, rotation: Rotation) -> Tensor:
    cos, sin = rotation
    first, second = x_BHTE.chunk(2, -1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


def _attend_one(q_BH1E: Tensor, k_BHSE: Tensor, v_BHSE: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of one new token a row.

    Two batched products instead of the fused kernel, which pays more per row and head than the arithmetic of a short
    cache.
    """
    scores = torch.matmul(q_BH1E, k_BHSE.transpose(-1, -2)) * q_BH1E.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.matmul(scores.softmax(-1), v_BHSE)


class Block(nn.Module):
    """One pre-norm block."""

    def __init__(self, config: EvolventConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.heads = layer, config.num_attention_heads
        width = config.hidden_size
        self.norm_1, self.norm_2 = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        # Half of the heads start by looking at what came before a key, half at the key itself.
        self.smear = nn.Parameter(torch.linspace(-3.0, 3.0, self.heads)) if config.smear else None
        self.up = nn.Linear(width, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, width, bias=False)

    def forward(
        self,
        x_BTD: Tensor,
        rotation: Rotation | None,
        mask: Tensor | None,
        padding_BT: Tensor | None,
        cache: Any,
    ) -> Tensor:
        """Attention over smeared keys and feed-forward, each with its residual.

        A key is a learned mix, per head, of its own token's key and the one before (smeared keys, Olsson et al.,
        arXiv:2209.11895), so that one layer can do what induction takes two for: find where a name stood, see what
        followed.
        """
        B, T, D = x_BTD.shape
        qkv = self.qkv(self.norm_1(x_BTD)).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        if rotation is not None:
            q, k = _rotate(q, rotation), _rotate(k, rotation)
        if padding_BT is not None:  # a padding key must not smear into the first real one
            k = k.masked_fill(padding_BT[:, None, :, None], 0.0)
        if self.smear is not None:
            own = torch.sigmoid(self.smear)[:, None, None]
            if cache is None:
                k = k * own + F.pad(k, (0, 0, 1, 0))[:, :, :-1] * (1 - own)
            else:
                k, v = self._cached(k, v, own, cache)
        elif cache is not None:
            k, v = cache.update(k, v, self.layer)
        if T == 1:
            attended = _attend_one(q, k, v, mask)
        else:
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x_BTD = x_BTD + self.out(attended.transpose(1, 2).reshape(B, T, D))
        gate, value = self.up(self.norm_2(x_BTD)).chunk(2, -1)
        return x_BTD + self.down(F.silu(gate) * value)

    def _cached(self, k: Tensor, v: Tensor, own: Tensor, cache: Any) -> tuple[Tensor, Tensor]:
        """Smeared keys and values of all tokens so far.

        The cache holds smeared and plain key side by side, so that a new token reads one plain key and not the whole
        past.
        """
        T, width = k.shape[2], k.shape[3]
        both, v = cache.update(torch.cat((torch.zeros_like(k), k), -1), v, self.layer)
        past = both.shape[2] - T
        plain = both[:, :, max(past - 1, 0) :, width:]
        if past == 0:
            plain = F.pad(plain, (0, 0, 1, 0))
        both[:, :, past:, :width] = plain[:, :, 1:] * own + plain[:, :, :-1] * (1 - own)
        return both[..., :width], v


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a forward pass gives: ``logits``, ``(B, T, V)``, the loss where labels were given, and the cache."""

    logits: Tensor
    loss: Tensor | None
    past_key_values: Any


class Layers(nn.Module):
    """The model's weights and arithmetic, for `Decoder` and for `hub.EvolventForCausalLM`."""

    config: Any

    def _make(self, config: EvolventConfig) -> None:
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=1e-6)

    def _init_weights(self, module: nn.Module) -> None:
        depth = (2 * self.config.num_hidden_layers) ** -0.5
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5 * 0.7)
        if isinstance(module, Block) and module.smear is not None:
            # Queries start equal to keys and outputs to transposed values: like finds like and copies it, from the
            # first step (mimetic initialisation, Trockman and Kolter, arXiv:2305.09828).
            q, k, v = module.qkv.weight.data.chunk(3)
            nn.init.normal_(q, std=module.qkv.in_features**-0.5)
            k.copy_(q)
            module.out.weight.data.copy_(v.T * depth)
            nn.init.normal_(module.down.weight, std=module.down.in_features**-0.5 * 0.7 * depth)

    def decode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        labels: Tensor | None = None,
        use_cache: bool = False,
        logits_to_keep: int = 0,
    ) -> Predicted:
        """Logits of the next token.

        Args:
            input_ids: ``(B, T)``.
            attention_mask: ``(B, S)``, 0 for padding; ``None`` when nothing is padded on the left.
            position_ids: ``(B, T)``; by default counted from the mask.
            past_key_values: keys and values of the tokens before; a `Cache`, or one of the `transformers` library.
            labels: ``(B, T)``, -100 where no loss is wanted; shifted inside.
            use_cache: return `past_key_values`.
            logits_to_keep: compute logits of the last so many positions only; 0 for all.
        """
        B, T = input_ids.shape
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if use_cache and past_key_values is None:
            past_key_values = Cache()
        if position_ids is None:
            if attention_mask is not None and attention_mask.dim() == 2:
                position_ids = (attention_mask.long().cumsum(-1) - 1).clamp_min(0)[:, -T:]
            else:
                position_ids = torch.arange(past, past + T, device=input_ids.device).expand(B, T)
        padding = None
        if attention_mask is not None and past == 0 and not bool(attention_mask.all()):
            padding = attention_mask[:, -T:] == 0
        width = self.config.hidden_size // self.config.num_attention_heads
        rotation = _rotation(position_ids, width) if self.config.positions == "rope" else None
        mask = _causal_mask(attention_mask, B, T, past, input_ids.device)
        x_BTD = self.embed(input_ids) * (self.config.hidden_size**0.5)
        for block in self.blocks:
            x_BTD = block(x_BTD, rotation, mask, padding, past_key_values)
        x_BTD = self.norm(x_BTD[:, -logits_to_keep:] if logits_to_keep else x_BTD)
        logits = F.linear(x_BTD, self.embed.weight)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100)
        return Predicted(logits=logits, loss=loss, past_key_values=past_key_values)


class Decoder(Layers):
    """The model; called as models of the `transformers` library are."""

    def __init__(self, config: EvolventConfig) -> None:
        super().__init__()
        self.config = config
        self._make(config)
        self.apply(self._init_weights)

    def forward(self, input_ids: Tensor, **arguments: Any) -> Predicted:
        """See `Layers.decode`."""
        return self.decode(input_ids, **arguments)


def fresh(config: EvolventConfig, seed: int) -> Decoder:
    """A model with weights drawn from a seed; the global generator is as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        return Decoder(config)


def _causal_mask(attention_mask: Tensor | None, B: int, T: int, past: int, device: torch.device) -> Tensor | None:
    """``(B, 1, T, S)``, True where attention is allowed; ``None`` when plain causal attention is right."""
    S = past + T
    if attention_mask is None or (past == 0 and bool(attention_mask.all())):
        if past == 0 or T == 1:
            return None
        attention_mask = torch.ones(B, S, device=device)
    seen = attention_mask[:, None, None, :S].bool()
    if T == 1:
        return seen
    causal = torch.ones(T, S, dtype=torch.bool, device=device).tril(past)
    # A padding row attends to itself, or the softmax over nothing would be NaN.
    return (seen & causal) | torch.eye(T, S, dtype=torch.bool, device=device)
