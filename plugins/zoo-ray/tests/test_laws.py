from zoo.testing import parametrize_with_laws


@parametrize_with_laws(["ray"], kind="executor")
def test_laws(law):
    law()
