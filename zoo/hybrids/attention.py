"""Hybrids of attention of several kinds, and of attention with short convolutions."""

from typing import ClassVar

from zoo import Hybrid


class LFM2(Hybrid):
    """Ten gated short convolutions and six layers of attention with normalised queries and keys: LFM2-1.2B."""

    paper: ClassVar[str] = "Liquid AI 2025, arXiv:2511.23404"
    period: ClassVar[str] = "gated-short-conv*2, dot-product(qk_norm=true)"
    published: ClassVar[str] = (
        "(gated-short-conv*2, dot-product(qk_norm=true))*2, gated-short-conv*2, "
        "(dot-product(qk_norm=true), gated-short-conv)*4"
    )
    depth: ClassVar[int] = 16
    reduced: ClassVar[int] = 3


class LFM3(Hybrid):
    """Short convolutions of seven taps, and attention by turns over all tokens, gated, and over a window of 256."""

    paper: ClassVar[str] = "Liquid AI 2026, configuration of LFM3"
    period: ClassVar[str] = (
        "gated-short-conv(kernel_size=7)*2, dot-product(gated=true), gated-short-conv(kernel_size=7), "
        "(dot-product(window=256), gated-short-conv(kernel_size=7), dot-product(gated=true), "
        "gated-short-conv(kernel_size=7))*5"
    )
    published: ClassVar[str] = period
    depth: ClassVar[int] = 24
    reduced: ClassVar[int] = 5


class Gemma2(Hybrid):
    """Attention over a window of 4,096 tokens and over all tokens by turns, with capped scores: Gemma-2-2B."""

    paper: ClassVar[str] = "Gemma Team 2024, arXiv:2408.00118"
    period: ClassVar[str] = "dot-product(window=4096, soft_cap=50)/geglu, dot-product(soft_cap=50)/geglu"
    published: ClassVar[str] = f"({period})*13"
    depth: ClassVar[int] = 26
    reduced: ClassVar[int] = 2


class Gemma3(Hybrid):
    """Five layers of attention over a window of 1,024 tokens, then one over all of them: Gemma-3-27B."""

    paper: ClassVar[str] = "Gemma Team 2025, arXiv:2503.19786"
    period: ClassVar[str] = (
        "dot-product(window=1024, qk_norm=true)/geglu*5, dot-product(qk_norm=true, rope_base=1000000)/geglu"
    )
    published: ClassVar[str] = f"({period})*10, dot-product(window=1024, qk_norm=true)/geglu*2"
    depth: ClassVar[int] = 62
    reduced: ClassVar[int] = 6


class GptOss(Hybrid):
    """Attention over a window of 128 tokens and over all tokens by turns, with a sink, and mixtures of experts."""

    paper: ClassVar[str] = "OpenAI 2025, arXiv:2508.10925"
    period: ClassVar[str] = "dot-product(window=128, sink=true)/moe, dot-product(sink=true)/moe"
    published: ClassVar[str] = f"({period})*18"
    depth: ClassVar[int] = 36
    reduced: ClassVar[int] = 2


class MiMoV2Flash(Hybrid):
    """Nine layers of attention over all tokens among thirty-nine over a window of 128, with mixtures of experts."""

    paper: ClassVar[str] = "Xiaomi 2025, configuration of MiMo-V2-Flash"
    period: ClassVar[str] = "dot-product(window=128)/moe*5, dot-product/moe"
    published: ClassVar[str] = (
        "dot-product/moe, dot-product(window=128)/moe*4, dot-product/moe, "
        "(dot-product(window=128)/moe*5, dot-product/moe)*7"
    )
    depth: ClassVar[int] = 48
    reduced: ClassVar[int] = 6


class Olmo3(Hybrid):
    """Three layers of attention over a window of 4,096 tokens, then one over all of them."""

    paper: ClassVar[str] = "Ai2 2025, configuration of OLMo-3-7B"
    period: ClassVar[str] = "dot-product(window=4096, qk_norm=true)*3, dot-product(qk_norm=true)"
    published: ClassVar[str] = f"({period})*8"
    depth: ClassVar[int] = 32
    reduced: ClassVar[int] = 4


class DeepSeekV3(Hybrid):
    """Latent attention in every layer; the first three channel mixers are dense, the others mixtures of experts."""

    paper: ClassVar[str] = "DeepSeek-AI 2024, arXiv:2412.19437"
    period: ClassVar[str] = "mla/swiglu, mla/moe"
    published: ClassVar[str] = "mla/swiglu*3, mla/moe*58"
    depth: ClassVar[int] = 61
    reduced: ClassVar[int] = 2


HYBRIDS: dict[str, type[Hybrid]] = {
    "deepseek-v3": DeepSeekV3,
    "gemma2": Gemma2,
    "gemma3": Gemma3,
    "gpt-oss": GptOss,
    "lfm2": LFM2,
    "lfm3": LFM3,
    "mimo-v2-flash": MiMoV2Flash,
    "olmo3": Olmo3,
}
"""By name."""
