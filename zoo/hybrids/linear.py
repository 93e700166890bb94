"""Hybrids of linear attention, of the additive and of the delta kind, with softmax attention."""

from typing import ClassVar

from zoo import Hybrid


class Qwen3Next(Hybrid):
    """Three gated delta networks, then gated attention, with a mixture of experts in every layer.

    As Qwen3-Next-80B-A3B: two key-value heads, a quarter of each head rotated. Its delta networks have twice as many
    value heads as key heads.
    """

    paper: ClassVar[str] = "Qwen team 2025, configuration of Qwen3-Next-80B-A3B"
    period: ClassVar[str] = (
        "gated-deltanet/moe*3, dot-product(gated=true, qk_norm=true, kv_heads=2, rope_fraction=0.25)/moe"
    )
    published: ClassVar[str] = f"({period})*12"
    depth: ClassVar[int] = 48
    reduced: ClassVar[int] = 4


class KimiLinear(Hybrid):
    """Three layers of Kimi delta attention, then latent attention without positions; the first channel mixer is dense.

    As Kimi-Linear-48B-A3B, whose last three layers are two of the former and one of the latter.
    """

    paper: ClassVar[str] = "Kimi Team 2025, arXiv:2510.26692"
    period: ClassVar[str] = "kda/moe*3, mla(rotary=0)/moe"
    published: ClassVar[str] = f"kda/swiglu, kda/moe*2, mla(rotary=0)/moe, ({period})*5, kda/moe*2, mla(rotary=0)/moe"
    depth: ClassVar[int] = 27
    reduced: ClassVar[int] = 4


class LingHybrid(Hybrid):
    """Five layers of Kimi delta attention, then latent attention; the first two channel mixers are dense."""

    paper: ClassVar[str] = "Ling team 2026, configuration of bailing_hybrid"
    period: ClassVar[str] = "kda/moe*5, mla/moe"
    published: ClassVar[str] = f"kda/swiglu*2, kda/moe*3, mla/moe, ({period})*6"
    depth: ClassVar[int] = 42
    reduced: ClassVar[int] = 6


class OlmoHybrid(Hybrid):
    """Three gated delta networks whose erasure may overshoot, then attention."""

    paper: ClassVar[str] = "Ai2 2026, configuration of OLMo-Hybrid-7B"
    period: ClassVar[str] = "gated-deltanet(negative=true)*3, dot-product"
    published: ClassVar[str] = f"({period})*8"
    depth: ClassVar[int] = 32
    reduced: ClassVar[int] = 4


class MiniMax01(Hybrid):
    """Seven layers of lightning attention, then one of softmax attention; every channel mixer is a mixture of experts.

    Half of each head of softmax attention is rotated.
    """

    paper: ClassVar[str] = "MiniMax 2025, arXiv:2501.08313"
    period: ClassVar[str] = "lightning/moe*7, dot-product(rope_fraction=0.5)/moe"
    published: ClassVar[str] = f"({period})*10"
    depth: ClassVar[int] = 80
    reduced: ClassVar[int] = 8


class RWKV7Goose(Hybrid):
    """RWKV-7 alone: its time mixing, and its channel mixing with a token shift."""

    paper: ClassVar[str] = "Peng et al. 2025, arXiv:2503.14456"
    period: ClassVar[str] = "rwkv7/rwkv-channel"
    published: ClassVar[str] = f"{period}*24"
    depth: ClassVar[int] = 24
    reduced: ClassVar[int] = 2


class XLSTM7B(Hybrid):
    """Matrix LSTMs alone, in the block of xLSTM-7B."""

    paper: ClassVar[str] = "Beck et al. 2025, arXiv:2503.13427"
    period: ClassVar[str] = "mlstm"
    published: ClassVar[str] = f"{period}*32"
    depth: ClassVar[int] = 32
    reduced: ClassVar[int] = 2


HYBRIDS: dict[str, type[Hybrid]] = {
    "kimi-linear": KimiLinear,
    "ling-hybrid": LingHybrid,
    "minimax-01": MiniMax01,
    "olmo-hybrid": OlmoHybrid,
    "qwen3-next": Qwen3Next,
    "rwkv7-goose": RWKV7Goose,
    "xlstm-7b": XLSTM7B,
}
"""By name."""
