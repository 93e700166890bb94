"""Adapters of whole layers of the softmax family, built as mixers with the parameters of a case."""

import torch
from torch.func import functional_call

from mixers.softmax.differential import Differential
from mixers.softmax.mla import MLA


def latent(x, *, parameters):
    read = parameters["kv_a_proj_with_mqa.weight"]
    norm, output = parameters["kv_a_layernorm.weight"], parameters["o_proj.weight"]
    rotary, queries = len(read) - len(norm), parameters["q_proj.weight"]
    heads = (len(queries) + output.shape[1] - len(parameters["kv_b_proj.weight"])) // rotary
    mixer = MLA(x.shape[-1], heads=heads, latent=len(norm), rotary=rotary).double()
    by_head = queries.unflatten(0, (heads, -1))
    plain, turned = by_head.split([by_head.shape[1] - rotary, rotary], dim=1)
    # The source turns neighbouring channels, and the zoo those that lie half a head apart.
    turned = torch.cat([turned[:, ::2], turned[:, 1::2]], dim=1)
    key = read[len(norm) :]
    key = torch.cat([key[::2], key[1::2]])
    named = {
        "project_in.weight": torch.cat([torch.cat([plain, turned], dim=1).flatten(0, 1), read[: len(norm)], key]),
        "latent_norm.weight": norm,
        "expand.weight": parameters["kv_b_proj.weight"],
        "project_out.weight": output,
    }
    return {"o": functional_call(mixer, named, x)}


def differential(x, *, parameters):
    size = len(parameters["lambda_q1"])
    query, key, value = (parameters[f"{name}_proj.weight"] for name in "qkv")
    heads, kv_heads = len(query) // (2 * size), len(key) // (2 * size)
    mixer = Differential(x.shape[-1], heads=heads, kv_heads=kv_heads, layer_index=LAYER).double()
    # The first half of the value heads and the second are the two halves of the zoo's heads.
    halves = value.unflatten(0, (2, kv_heads, size)).transpose(0, 1).flatten(0, 2)
    named = {
        "project_in.weight": torch.cat([query, key, halves]),
        "lambda_query": torch.stack([parameters["lambda_q1"], parameters["lambda_q2"]]),
        "lambda_key": torch.stack([parameters["lambda_k1"], parameters["lambda_k2"]]),
        "project_out.weight": parameters["o_proj.weight"],
    }
    return {"o": functional_call(mixer, named, x)}


LAYER = 3
"""The layer of the differential case, counted from 0."""

ADAPTERS = {"layer-mla": latent, "layer-differential": differential}

TOLERANCES = {"layer-mla": 1e-5, "layer-differential": 1e-5}
