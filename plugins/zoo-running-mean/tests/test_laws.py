from zoo.testing import parametrize_with_laws


@parametrize_with_laws(["running-mean", "running-mean, dot-product"])
def test_laws(law):
    law()
