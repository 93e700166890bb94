from zoo.testing import parametrize_with_laws


@parametrize_with_laws(["running-mean"])
def test_laws(law):
    law()
