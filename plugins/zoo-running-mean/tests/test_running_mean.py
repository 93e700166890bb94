import torch
from zoo_running_mean import RunningMean

import zoo


def test_it_is_registered():
    assert "running-mean" in zoo.list_mixers()
    assert isinstance(zoo.create_mixer("running-mean", dim=8), RunningMean)


def test_each_write_is_the_mean_of_the_reads_so_far():
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    means = torch.stack([x[:, : t + 1].mean(1) for t in range(9)], dim=1)
    torch.testing.assert_close(RunningMean()(x), means)


def test_it_streams():
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    mixer = RunningMean()
    first, state = mixer.step(x[:, :4])
    second, _ = mixer.step(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), mixer(x))
