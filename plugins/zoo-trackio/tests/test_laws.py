from zoo.testing import parametrize_with_laws


@parametrize_with_laws(["trackio"], kind="reporter")
def test_laws(law):
    law()
