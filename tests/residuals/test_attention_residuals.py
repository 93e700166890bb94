"""Attention over depth, against numbers of the authors of flash-linear-attention."""

import os
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from zoo.residuals.attention_residuals import attend_over_depth

# One token of their reference (fla/ops/attnres/naive.py) in float64.
QUERY = [
    -0.86577849126,
    1.1009284655,
    -0.47677697303,
    0.53417762967,
    -1.9116911514,
    -0.0013082327864,
    0.86825049746,
    0.99233089752,
]
GAIN = [
    1.0917296473,
    0.99213175163,
    1.0097174699,
    0.83688568219,
    1.0826329718,
    0.90640732922,
    0.92465619124,
    0.94510941639,
]
OUTPUTS = [
    [
        -0.15794863247,
        1.0871431585,
        1.1962783876,
        0.14528529643,
        0.28255643894,
        1.0178563587,
        1.9481897941,
        -0.64202624217,
    ],
    [
        0.57655542651,
        -0.88188856475,
        -0.20377627941,
        -1.9392680501,
        -0.32149236274,
        -0.84303346935,
        -0.29840798922,
        0.99422775037,
    ],
    [
        -0.29870914149,
        -2.2273268281,
        -1.6004729754,
        -0.06840062595,
        -0.39232423933,
        -0.86073191704,
        -1.3472708508,
        -0.17219277953,
    ],
    [
        -0.14253174437,
        0.1036104237,
        -2.3054978652,
        -1.2008482274,
        0.17906962679,
        -1.127929066,
        -0.3573370876,
        1.0992488512,
    ],
    [
        -0.5678961732,
        0.96036775628,
        1.9695791163,
        0.45396185962,
        0.97733285883,
        1.1560715536,
        -0.8746355538,
        -0.75665160041,
    ],
]
SELECTED = [
    -0.12152683512,
    0.46435226731,
    -0.45407950966,
    -0.54630767837,
    0.19551403018,
    -0.055260080731,
    0.70932614849,
    0.20552121625,
]
WEIGHTS = [
    0.47624341867,
    0.05286216547,
    0.028361812177,
    0.43022332271,
    0.012309280972,
]
TO_SELECTED = [
    -0.14348132513,
    -0.0480851028,
    -2.1144134391,
    -1.5598105167,
    -0.83971930243,
    1.1102135898,
    0.083870210029,
    2.7872554114,
]
TO_WEIGHTS = [
    -0.52587177236,
    1.3813195178,
    0.16160102514,
    0.70562206794,
    -0.18209427474,
]
TO_OUTPUTS = [
    [
        2.7376936575,
        -2.8508060387,
        1.0075237359,
        -2.0376458273,
        6.0324374153,
        0.99898826134,
        -1.5117886589,
        -1.823032339,
    ],
    [
        -0.23303174865,
        0.250424668,
        -0.24403699433,
        -0.034254076942,
        -0.59357338587,
        0.028824509844,
        0.20263136511,
        0.42595053048,
    ],
    [
        -0.010055899374,
        0.0028121926706,
        -0.064561429481,
        -0.041631133591,
        -0.036645397658,
        0.03056311167,
        0.0057570678607,
        0.084492208257,
    ],
    [
        -2.544528531,
        2.8691793441,
        -1.4158919328,
        0.93393188837,
        -5.9645653641,
        0.85752458538,
        2.3074015818,
        3.3373851471,
    ],
    [
        0.11545622417,
        -0.14535973992,
        -0.035444715516,
        -0.080314710823,
        0.17838165876,
        -0.021585576689,
        -0.057009031807,
        -0.041606187563,
    ],
]

GOLDEN = Path(os.environ.get("ZOO_GOLDEN", "golden")) / "attnres-l5.safetensors"
CLOSE = {"rtol": 0, "atol": 1e-9}


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def test_one_token_agrees_with_the_reference():
    outputs = tensor(OUTPUTS)[:, None, None].requires_grad_()
    selected, weights = attend_over_depth(tensor(QUERY), outputs.unbind(), tensor(GAIN))
    assert_close(selected[0, 0], tensor(SELECTED), **CLOSE)
    assert_close(weights[:, 0, 0], tensor(WEIGHTS), **CLOSE)
    ((selected[0, 0] * tensor(TO_SELECTED)).sum() + (weights[:, 0, 0] * tensor(TO_WEIGHTS)).sum()).backward()
    assert_close(outputs.grad[:, 0, 0], tensor(TO_OUTPUTS), **CLOSE)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the folder of reference vectors is named by ZOO_GOLDEN")
def test_whole_sequences_agree_with_the_reference():
    from safetensors.torch import load_file

    file = load_file(GOLDEN)
    given = {name: file[f"in.{name}"].requires_grad_() for name in ("query", "residuals", "rms_weight")}
    selected, weights = attend_over_depth(given["query"], given["residuals"].unbind(), given["rms_weight"])
    assert_close(selected, file["out.o"], **CLOSE)
    assert_close(weights, file["out.p"], **CLOSE)
    ((selected * file["cot.o"]).sum() + (weights * file["cot.p"]).sum()).backward()
    for name, value in given.items():
        assert_close(value.grad, file[f"grad.{name}"], **CLOSE)
