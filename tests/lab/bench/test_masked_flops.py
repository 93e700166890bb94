import torch
import torch.nn.functional as F

from zoo.lab.bench.masked_flops import count_operations

QUERY, KEY, VALUE = (torch.randn(3, 2, 20, width, requires_grad=True) for width in (8, 8, 8))
PAIRS = 3 * 2 * 20 * 20
MASKED = 3 * 2 * 20 * 19 // 2


def test_of_causal_attention_only_the_scores_that_are_not_masked_are_needed():
    with torch.no_grad():
        counted, needed = count_operations(lambda: F.scaled_dot_product_attention(QUERY, KEY, VALUE, is_causal=True))
    assert counted == 2 * PAIRS * 16
    assert counted - needed == 2 * MASKED * 16


def test_so_it_is_in_the_backward_pass():
    def step():
        F.scaled_dot_product_attention(QUERY, KEY, VALUE, is_causal=True).sum().backward()

    counted, needed = count_operations(step)
    assert counted == 2 * PAIRS * (16 + 40)
    assert counted - needed == 2 * MASKED * (16 + 40)


def test_all_else_is_needed():
    def run():
        F.scaled_dot_product_attention(QUERY, KEY, VALUE)
        torch.randn(4, 5) @ torch.randn(5, 6)

    assert count_operations(run) == (2 * PAIRS * 16 + 2 * 4 * 5 * 6,) * 2
