import hashlib
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.corpora.python_stdlib import PythonStdlib
from zoo.data.batches import draw_batch, evaluation_windows, number_documents
from zoo.data.dataset import Dataset, prepare
from zoo.data.documents import SEPARATOR
from zoo.data.load import load_source
from zoo.data.source import IGNORE
from zoo.data.text import load_text
from zoo.data.tokenize import make_tokenizer
from zoo.errors import UsageError
from zoo.tokenizers.chunks import chunks

FILES = {"a.txt": "alpha (beta)", "b.txt": "x", "c/d.py": "# gamma\n", "e.txt": "  delta  \n\n"}
TEXTS = list(FILES.values())
END = 0
"""The token that ends a document, in windows of numbers."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ZOO_CACHE", str(path))
    return path


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    return str(tmp_path)


# The text


def test_joined_files_are_what_they_were(folder):
    corpus = load_text(folder)
    assert corpus == load_text(folder, documents="joined")
    assert corpus.text == "\n".join(TEXTS)
    assert corpus.sha256 == hashlib.sha256("\n".join(TEXTS).encode()).hexdigest()
    made = prepare(folder, "byte", validation_fraction=0.5)
    assert made.separator is None
    assert made.draw(context=4, batch=2, seed=0, step=0).documents is None
    assert all(batch.documents is None for batch in made.validation_batches(context=4, batch=2))


def test_separate_files_have_the_separator_between_them(folder):
    corpus = load_text(folder, documents="separate")
    assert corpus.text == "\0".join(TEXTS)
    assert corpus.sha256 == hashlib.sha256("\0".join(TEXTS).encode()).hexdigest()
    assert len(corpus.text) == len(load_text(folder).text)  # so that the validation split begins where it did


def test_the_standard_library_is_many_documents(monkeypatch):
    monkeypatch.setattr(PythonStdlib, "documents", lambda _: iter(TEXTS))
    assert load_text("python-stdlib", documents="separate").text == "\0".join(TEXTS)


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_single_document_cannot_be_separate(tmp_path, as_folder):
    (tmp_path / "a.txt").write_text("text")
    data = str(tmp_path if as_folder else tmp_path / "a.txt")
    expected = (
        f"the data {data!r} is a single document, and documents=separate needs several: pass a folder of text files, "
        "or leave documents out"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(expected)}$"):
        load_source(data, tokenizer="byte", validation_fraction=0.1, documents="separate")


# The tokens


@pytest.mark.parametrize("spec", ["byte", "char", "bpe(vocab_size=280)"])
def test_the_separator_is_one_token_and_no_other_has_it(spec):
    text = SEPARATOR.join(TEXTS * 5)
    tokenizer = make_tokenizer(spec, text, text)
    tokens = tokenizer.encode(text)
    (separator,) = tokenizer.encode(SEPARATOR)
    assert tokenizer.pieces[separator] == b"\0"
    assert [piece for piece in tokenizer.pieces if b"\0" in piece] == [b"\0"]
    documents = np.split(tokens, np.flatnonzero(tokens == separator) + 1)
    assert [tokenizer.decode(document) for document in documents] == [f"{one}\0" for one in TEXTS * 5][:-1] + TEXTS[-1:]
    assert [document.tolist() for document in documents[:3]] == [tokenizer.encode(f"{t}\0").tolist() for t in TEXTS[:3]]


@given(st.text(st.sampled_from("ab (\n'\0"), max_size=40), st.integers(1, 9))
def test_chunks_end_at_separators(text, size):
    cut = list(chunks(text, size))
    assert "".join(cut) == text
    assert cut.count("\0") == text.count("\0") == sum("\0" in chunk for chunk in cut)


@pytest.mark.parametrize("spec", ["byte", "char", "bpe(vocab_size=280)"])
def test_joined_and_separate_are_encoded_apart(folder, cache, spec):
    joined, separate = (prepare(folder, spec, documents=documents) for documents in ("joined", "separate"))
    assert len(list((cache / "encoded").glob("*/manifest.json"))) == 2
    assert joined.sha256 != separate.sha256
    again = prepare(folder, spec, documents="separate")
    assert (again.separator, again.train.tolist()) == (separate.separator, separate.train.tolist())
    assert separate.tokenizer.decode([*separate.train, *separate.validation]) == "\0".join(TEXTS)
    assert separate.tokenizer.pieces[separate.separator] == b"\0"


def test_a_tokenizer_must_have_one_token_for_the_separator(folder, monkeypatch):
    monkeypatch.setattr("zoo.tokenizers.byte.ByteTokenizer.encode", lambda _, text: np.array([1, 2] * len(text)))
    expected = "the tokenizer 'byte' writes the separator of documents (NUL) as 2 tokens, and documents=separate needs "
    with pytest.raises(UsageError, match=re.escape(expected)):
        prepare(folder, "byte", documents="separate")


# The windows


def stream(lengths):
    """Documents of these lengths, their end included, each of them of one token that no other has."""
    return np.concatenate([[*[number] * (length - 1), END] for number, length in enumerate(lengths, start=1)])


STREAMS = st.lists(st.integers(2, 6), min_size=2, max_size=12).map(stream)


def check_window(tokens, offset, inputs, targets, documents):
    """Against the whole text, token by token; returns the places of its targets."""
    whole = np.concatenate([[0], np.cumsum(tokens == END)[:-1]])[offset : offset + len(inputs)]
    assert (documents[: len(whole)] - documents[0]).tolist() == (whole - whole[0]).tolist()
    scored = []
    for place, (token, target) in enumerate(zip(inputs.tolist(), targets.tolist(), strict=True), start=offset):
        if place + 1 >= len(tokens) or token == END:
            assert target == IGNORE
        else:
            assert (token, target) == (tokens[place], tokens[place + 1])
            scored.append(place + 1)
    return scored


@given(STREAMS, st.integers(2, 9), st.integers(0, 99))
def test_documents_of_a_drawn_window(tokens, context, step):
    context = min(context, len(tokens) - 1)
    batch = draw_batch(tokens, context=context, batch=3, seed=0, step=step, separator=END)
    plain = draw_batch(tokens, context=context, batch=3, seed=0, step=step)
    assert torch.equal(batch.inputs, plain.inputs)
    assert batch.documents.dtype == torch.int64
    for row, offset in enumerate(batch.offsets.tolist()):
        check_window(tokens, offset, batch.inputs[row], batch.targets[row], batch.documents[row])


@pytest.mark.slow
@given(STREAMS, st.integers(2, 9), st.integers(1, 3))
@settings(max_examples=50)
def test_every_token_with_one_before_it_in_its_document_is_a_target_once(tokens, context, batch):
    context = min(context, len(tokens) - 1)
    scored = []
    for window in evaluation_windows(tokens, context=context, batch=batch, separator=END):
        for row, offset in enumerate(window.offsets.tolist()):
            scored += check_window(tokens, offset, window.inputs[row], window.targets[row], window.documents[row])
            filled = window.documents[row, len(tokens) - offset :]  # not a document for each token that fills it up
            assert len(set(filled.tolist())) <= 1
    assert scored == [place for place in range(1, len(tokens)) if tokens[place - 1] != END]


def test_the_end_belongs_to_its_document():
    assert number_documents(torch.tensor([[3, END, 4, 4, END, 5]]), END).tolist() == [[0, 0, 1, 1, 1, 2]]
    assert number_documents(torch.tensor([[END, 4, 4, 4, 4, END]]), END).tolist() == [[0, 1, 1, 1, 1, 1]]


def test_a_dataset_draws_documents_whatever_the_token_of_its_separator(folder):
    made = prepare(folder, "bpe(vocab_size=280)", documents="separate", validation_fraction=0.3)
    assert made.separator not in (0, None)
    batch = made.draw(context=12, batch=8, seed=0, step=0)
    assert torch.equal(batch.documents, number_documents(batch.inputs, made.separator))
    assert batch.documents.max() > 0
    assert torch.equal(batch.targets == IGNORE, batch.inputs == made.separator)
    assert next(made.validation_batches(context=4, batch=2)).documents is not None


def test_a_context_of_one_token_has_nothing_to_predict():
    tokens = np.arange(9)
    expected = "context=1 leaves separate documents nothing to predict: choose a `context` of 2 or more"
    with pytest.raises(UsageError, match=f"^{expected}$"):
        Dataset("text", "", make_tokenizer("byte", "", ""), tokens, tokens, 9, 9, END).check_context(1)
