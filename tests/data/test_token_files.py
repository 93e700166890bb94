"""nanoGPT's train.bin and val.bin, with and without the tokenizer that wrote them."""

import json
import math

import numpy as np
import pytest

import zoo
from zoo.data.load import load_source
from zoo.data.token_files import TokenData, TokenText
from zoo.data.tokenize import make_tokenizer
from zoo.errors import UsageError

TEXT = "The cat sat on the mat; the café's cat sat too.\n" * 60


@pytest.fixture
def folder(tmp_path, cache):
    """Tokens below 300, and a pickle that must not be loaded."""
    drawn = np.random.default_rng(0)
    (tmp_path / "bins").mkdir()
    for name, length in {"train.bin": 3000, "val.bin": 500}.items():
        drawn.integers(0, 300, length).astype("<u2").tofile(tmp_path / "bins" / name)
    (tmp_path / "bins" / "meta.pkl").write_bytes(b"cbuiltins\nexec\n(S'raise SystemExit'\ntR.")
    return tmp_path / "bins"


def test_tokens_without_a_text(folder):
    data = zoo.load_data(folder)
    assert isinstance(data, TokenData)
    highest = max(np.fromfile(folder / name, "<u2").max() for name in ("train.bin", "val.bin"))
    assert (data.vocab_size, data.tokenizer, data.writes_text) == (highest + 1, None, False)
    assert math.isnan(data.bits_per_byte(1.0))
    assert data.sample(None, tokens=3, seed=0) == ""
    batch = data.draw(context=20, batch=3, step=2)
    train = np.fromfile(folder / "train.bin", "<u2")
    for row, offset in zip(batch.inputs, batch.offsets.tolist(), strict=True):
        np.testing.assert_array_equal(row, train[offset : offset + 20])
    assert sum(int((part.targets >= 0).sum()) for part in data.validation_batches(context=33, batch=2)) == 499


def test_the_checksum_is_of_the_tokens(folder):
    before = zoo.load_data(folder).sha256
    content = bytearray((folder / "val.bin").read_bytes())
    content[0] ^= 1
    (folder / "val.bin").write_bytes(content)
    assert zoo.load_data(folder).sha256 != before


def test_with_the_tokenizer_text_can_be_read(tmp_path, folder):
    pytest.importorskip("tokenizers")
    made = make_tokenizer("bpe(vocab_size=280)", TEXT, "")
    (tmp_path / "tokenizer.json").write_text(json.dumps(made.to_json()["model"]))
    for name in ("train.bin", "val.bin"):
        made.encode(TEXT).astype("<u2").tofile(folder / name)
    data = zoo.load_data(folder, tokenizer=str(tmp_path / "tokenizer.json"))
    assert isinstance(data, TokenText)
    assert data.tokenizer.decode(np.asarray(data.train)) == TEXT
    assert data.validation_bytes == len(TEXT.encode())
    assert data.vocab_size == made.vocab_size
    np.array([0, 1, 999], "<u2").tofile(folder / "val.bin")
    with pytest.raises(
        UsageError, match=r"^bins has the token 999, and the vocabulary of .*tokenizer.json ends at \d+: pass"
    ):
        zoo.load_data(folder, tokenizer=str(tmp_path / "tokenizer.json"))


def test_mistakes(folder):
    with pytest.raises(
        UsageError, match=r"^bins holds tokens already, which char did not make: pass the path of their"
    ):
        zoo.load_data(folder, tokenizer="char")
    with pytest.raises(UsageError, match=r"^bins holds tokens and does not say where documents end"):
        zoo.load_data(folder, documents="separate")
    with pytest.raises(
        UsageError, match=r"^context=500 is too long for 'bins': 3000 of its tokens are for training and 500"
    ):
        zoo.load_data(folder).check_context(500)
    with pytest.raises(
        UsageError, match=r"^the objective masked learns from one text with a tokenizer, and bins is none$"
    ):
        load_source(str(folder), tokenizer="byte", validation_fraction=0.1, objective="masked")
    (folder / "val.bin").write_bytes(b"odd")
    with pytest.raises(UsageError, match=r"val.bin has 3 bytes, and tokens of 16 bits make an even number of them"):
        zoo.load_data(folder)


@pytest.mark.slow
def test_a_run_without_a_text(folder, tmp_path):
    from zoo.train.session import resume, start
    from zoo.train.settings import Settings

    settings = Settings(
        data=str(folder), mixer="correlation", layers=1, dim=16, heads=2, context=32, batch=4, steps=2, warmup=0,
        threads=1,
    )  # fmt: skip
    summary = start(settings, root=tmp_path, out=tmp_path / "run")
    assert not summary.writes_text
    assert summary.validation_loss < 7
    assert not (tmp_path / "run" / "tokenizer.json").exists()
    assert resume(tmp_path / "run", steps=3).steps == 3
