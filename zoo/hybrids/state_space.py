"""Hybrids of state-space models and gated recurrences with attention."""

from typing import ClassVar

from zoo import Hybrid


class Jamba(Hybrid):
    """Seven layers of Mamba to one of attention without positions; every second channel mixer is a mixture of experts.

    The period of eight layers, whose fifth is attention, is that of the 52-billion model.
    """

    paper: ClassVar[str] = "Lieber et al. 2024, arXiv:2403.19887"
    period: ClassVar[str] = (
        "(mamba1/swiglu, mamba1/moe)*2, dot-product(rope=false)/swiglu, mamba1/moe, mamba1/swiglu, mamba1/moe"
    )
    published: ClassVar[str] = f"({period})*4"
    depth: ClassVar[int] = 32
    reduced: ClassVar[int] = 8


class Griffin(Hybrid):
    """Two gated linear recurrences, then local attention with one key-value head, with a window of 1,024 tokens."""

    paper: ClassVar[str] = "De et al. 2024, arXiv:2402.19427"
    period: ClassVar[str] = "rg-lru/geglu*2, dot-product(window=1024, kv_heads=1)/geglu"
    reduced: ClassVar[int] = 3


class RecurrentGemma(Hybrid):
    """Griffin's arrangement with a window of 2,048 tokens, ending in two recurrences: RecurrentGemma-2B."""

    paper: ClassVar[str] = "Botev et al. 2024, arXiv:2404.07839"
    period: ClassVar[str] = "rg-lru/geglu*2, dot-product(window=2048, kv_heads=1)/geglu"
    published: ClassVar[str] = f"({period})*8, rg-lru/geglu*2"
    depth: ClassVar[int] = 26
    reduced: ClassVar[int] = 3


class Zamba2(Hybrid):
    """Mamba-2, and every few layers one block of attention and channel mixer beside it whose weights are shared.

    As Zamba2-2.7B: the block reads the stream, where the original reads the stream and the embedding side by side, and
    adjusts its weights at each place by a low-rank matrix.
    """

    paper: ClassVar[str] = "Glorioso et al. 2024, arXiv:2411.15242"
    period: ClassVar[str] = "mamba2/none*5, mamba2 + dot-product@shared/swiglu@shared-channel"
    published: ClassVar[str] = (
        "(mamba2/none*6, mamba2 + dot-product@shared/swiglu@shared-channel), "
        "(mamba2/none*5, mamba2 + dot-product@shared/swiglu@shared-channel)*6, "
        "mamba2/none*4, mamba2 + dot-product@shared/swiglu@shared-channel, "
        "mamba2/none*3, mamba2 + dot-product@shared/swiglu@shared-channel, mamba2/none*2"
    )
    depth: ClassVar[int] = 54
    reduced: ClassVar[int] = 6


class Samba(Hybrid):
    """Mamba and attention with a window of 2,048 tokens by turns."""

    paper: ClassVar[str] = "Ren et al. 2024, arXiv:2406.07522"
    period: ClassVar[str] = "mamba1/swiglu, dot-product(window=2048)/swiglu"
    reduced: ClassVar[int] = 2


class NemotronH(Hybrid):
    """Mamba-2 and channel mixers of squared ReLU by turns, and four layers of attention without positions.

    Nemotron-H-8B's 52 blocks are 24 of Mamba-2, 24 channel mixers and 4 of attention. Here a layer is a token mixer
    and the channel mixer that follows it, or none.
    """

    paper: ClassVar[str] = "NVIDIA 2025, arXiv:2504.03624"
    period: ClassVar[str] = "mamba2/relu2*4, mamba2/none, dot-product(rope=false)/relu2"
    published: ClassVar[str] = (
        "mamba2/relu2*3, mamba2/none, dot-product(rope=false)/relu2, "
        "(mamba2/relu2*4, mamba2/none, dot-product(rope=false)/relu2)*3, mamba2/relu2*5"
    )
    depth: ClassVar[int] = 28
    reduced: ClassVar[int] = 6


class Granite4(Hybrid):
    """Nine layers of Mamba-2 to one of attention without positions, with mixtures of experts: Granite-4.0-H-Small."""

    paper: ClassVar[str] = "IBM 2025, configuration of granite-4.0-h-small"
    period: ClassVar[str] = "mamba2/moe*5, dot-product(rope=false)/moe, mamba2/moe*4"
    published: ClassVar[str] = (
        "mamba2/moe*5, dot-product(rope=false)/moe, (mamba2/moe*9, dot-product(rope=false)/moe)*3, mamba2/moe*4"
    )
    depth: ClassVar[int] = 40
    reduced: ClassVar[int] = 10


class Bamba(Hybrid):
    """Mamba-2 with three layers of attention, half of each head rotated: Bamba-9B."""

    paper: ClassVar[str] = "IBM, Princeton, CMU, UIUC 2024, configuration of Bamba-9B"
    period: ClassVar[str] = "mamba2*9, dot-product(rope_fraction=0.5)"
    published: ClassVar[str] = (
        "mamba2*9, dot-product(rope_fraction=0.5), (mamba2*8, dot-product(rope_fraction=0.5))*2, mamba2*4"
    )
    depth: ClassVar[int] = 32
    reduced: ClassVar[int] = 10


class FalconH1(Hybrid):
    """Mamba-2 and attention side by side in every layer; the multipliers of the original are left out."""

    paper: ClassVar[str] = "Falcon LLM team 2025, arXiv:2507.22448"
    period: ClassVar[str] = "mamba2 + dot-product"
    published: ClassVar[str] = f"{period}*36"
    depth: ClassVar[int] = 36
    reduced: ClassVar[int] = 2


class Hymba(Hybrid):
    """Mamba and attention side by side; all tokens are seen in the first, the middle and the last layer.

    The other layers have a window of 1,024 tokens. The 128 learned tokens in front of the text, and the keys and values
    that pairs of layers share, are left out.
    """

    paper: ClassVar[str] = "Dong et al. 2024, arXiv:2411.13676"
    depth: ClassVar[int] = 32
    reduced: ClassVar[int] = 5

    def pattern(self, layers: int) -> str:
        """The pattern of a model of so many layers: the places of full attention depend on their number."""
        full, local = "mamba1 + dot-product", "mamba1 + dot-product(window=1024)"
        everything = {0, layers // 2, layers - 1}
        return ", ".join(full if layer in everything else local for layer in range(layers))


HYBRIDS: dict[str, type[Hybrid]] = {
    "bamba": Bamba,
    "falcon-h1": FalconH1,
    "granite-4": Granite4,
    "griffin": Griffin,
    "hymba": Hymba,
    "jamba": Jamba,
    "nemotron-h": NemotronH,
    "recurrent-gemma": RecurrentGemma,
    "samba": Samba,
    "zamba2": Zamba2,
}
"""By name."""
