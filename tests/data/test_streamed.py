"""Data in files of documents: whatever their form, one text gives one hash, one split and the same draws."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

import zoo
from zoo.data.dataset import Dataset
from zoo.data.shards import inputs
from zoo.data.shards.fit import TrainingSample
from zoo.data.shards.read import Reader
from zoo.data.shards.worker import digest_of, is_for_validation
from zoo.data.source import IGNORE
from zoo.data.streamed import ShardedText
from zoo.data.tokens import ShardedTokens

from .conftest import TEXTS

FORMS = ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"]

pytestmark = pytest.mark.usefixtures("cache", "small_blocks")


def documents_of(data: ShardedText, tokens: ShardedTokens) -> list[str]:
    starts = [start + first for part, first in zip(tokens._starts, tokens._firsts, strict=False) for start in part]
    bounds = [*map(int, starts), len(tokens)]
    return [data.tokenizer.decode(tokens[a:b]) for a, b in pairwise(bounds)]


@pytest.mark.parametrize("tokenizer", ["byte", "char", "bpe(vocab_size=300)"])
def test_every_form_of_one_text_is_the_same_data(tmp_path, write_form, tokenizer):
    made = [zoo.load_data(write_form(tmp_path / name, TEXTS), tokenizer=tokenizer) for name in FORMS]
    assert len({data.sha256 for data in made}) == 1
    for data in made:
        assert len(data.train._parts) > 1
        assert data.tokenizer.pieces == made[0].tokenizer.pieces
        np.testing.assert_array_equal(np.asarray(data.train), np.asarray(made[0].train))
        np.testing.assert_array_equal(np.asarray(data.validation), np.asarray(made[0].validation))
        assert data.train_bytes + data.validation_bytes == sum(len(text.encode()) + 1 for text in TEXTS)


def test_no_document_is_lost_or_in_both_splits(tmp_path, write_form):
    data = zoo.load_data(write_form(tmp_path / "a.jsonl", TEXTS))
    train, validation = documents_of(data, data.train), documents_of(data, data.validation)
    assert sorted(train + validation) == sorted(text + "\n" for text in TEXTS)
    assert not set(train) & set(validation)
    assert 20 <= len(validation) <= 60


def test_equal_texts_fall_on_one_side_in_any_order(tmp_path, write_form):
    twice = zoo.load_data(write_form(tmp_path / "twice.jsonl", TEXTS + TEXTS[::-1]))
    train, validation = documents_of(twice, twice.train), documents_of(twice, twice.validation)
    assert not set(train) & set(validation)
    once = zoo.load_data(write_form(tmp_path / "once.jsonl", TEXTS))
    assert set(documents_of(once, once.validation)) == set(validation)
    assert once.sha256 != twice.sha256


@pytest.mark.parametrize("count", [2, 3, 5])
def test_of_few_documents_one_is_for_validation(tmp_path, write_form, count):
    data = zoo.load_data(write_form(tmp_path / "few.jsonl", TEXTS[:count]), validation_fraction=1e-6)
    assert len(documents_of(data, data.validation)) == 1
    data = zoo.load_data(write_form(tmp_path / "few.jsonl", TEXTS[:count]), validation_fraction=1 - 1e-6)
    assert len(documents_of(data, data.train)) == count - 1


def test_a_folder_and_a_pattern_are_their_files_in_order(tmp_path, write_form, monkeypatch):
    (tmp_path / "set" / "more").mkdir(parents=True)
    write_form(tmp_path / "set" / "b.jsonl", TEXTS[100:200])
    write_form(tmp_path / "set" / "a.jsonl.gz", TEXTS[:100])
    write_form(tmp_path / "set" / "more" / "c.parquet", TEXTS[200:])
    (tmp_path / "set" / "README.md").write_text("Some documents.")
    (tmp_path / "set" / ".hidden").write_text("not this")
    whole = zoo.load_data(write_form(tmp_path / "a.jsonl", TEXTS))
    monkeypatch.chdir(tmp_path)
    assert zoo.load_data("set").sha256 == zoo.load_data("set/**/*[lqz]*").sha256 == whole.sha256
    assert zoo.load_data("set/*.jsonl*").sha256 != whole.sha256


def test_a_folder_with_other_texts_is_plain_text(tmp_path, write_form):
    write_form(tmp_path / "a.jsonl", TEXTS)
    (tmp_path / "program.py").write_text("print()\n" * 40)
    assert not isinstance(zoo.load_data(tmp_path), ShardedText)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.txt"])
def test_reading_goes_on_from_every_block(tmp_path, write_form, name):
    if name == "a.txt":
        (tmp_path / name).write_text("".join(TEXTS))
    else:
        write_form(tmp_path / name, TEXTS)
    found = inputs.inputs_of_mixture(str(tmp_path / name), "text")
    blocks = list(Reader(found, 0.1).blocks())
    assert len(blocks) > 5
    for number, block in enumerate(blocks):
        assert list(Reader(found, 0.1).blocks(block.after)) == blocks[number + 1 :]
    assert blocks[-1].done == pytest.approx(found.size)


def test_draws_are_those_of_the_whole_split(tmp_path, write_form):
    data = zoo.load_data(write_form(tmp_path / "a.jsonl", TEXTS))
    train = np.asarray(data.train)
    for step in range(5):
        batch = data.draw(context=300, batch=8, step=step, seed=3)
        for row, target, offset in zip(batch.inputs, batch.targets, batch.offsets.tolist(), strict=True):
            np.testing.assert_array_equal(row, train[offset : offset + 300])
            np.testing.assert_array_equal(target, train[offset + 1 : offset + 301])
    counted = [batch.targets[batch.targets != IGNORE] for batch in data.validation_batches(context=33, batch=4)]
    np.testing.assert_array_equal(torch.cat(counted), np.asarray(data.validation)[1:])


def test_draws_are_equal_after_a_restart_and_for_any_number_of_processes(tmp_path, write_form, monkeypatch):
    path = write_form(tmp_path / "a.jsonl", TEXTS)
    drawn = []
    for cache in ("one", "two"):
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path / cache))
        data = zoo.load_data(path)
        # of global micro-batches 0 … 7 each rank makes every count-th; together they make all of them
        for count in (1, 2, 4):
            by_rank = {
                step: data.draw(context=64, batch=2, step=step)
                for rank in range(count)
                for step in range(rank, 8, count)
            }
            drawn.append(torch.stack([by_rank[step].inputs for step in range(8)]))
    assert all(torch.equal(each, drawn[0]) for each in drawn)


def test_separate_documents_are_those_of_the_files(tmp_path, write_form):
    data = zoo.load_data(write_form(tmp_path / "a.jsonl", TEXTS), documents="separate")
    for batch in (data.draw(context=200, batch=16, step=1), *data.validation_batches(context=200, batch=16)):
        assert batch.documents.shape == batch.inputs.shape
        for row, targets, ids in zip(batch.inputs, batch.targets, batch.documents, strict=True):
            text, breaks = data.tokenizer.decode(row.tolist()), torch.diff(ids) != 0
            assert len(set(ids.tolist())) >= text.count("end\nDocument")
            assert (torch.diff(ids)[breaks] == 1).all()
            assert ((targets[:-1] == IGNORE) | ~breaks).all()
    with pytest.raises(zoo.UsageError, match=r"^context=1 leaves separate documents nothing"):
        data.check_context(1)


def test_separate_documents_are_not_confused_by_joined_ones(tmp_path, write_form):
    path = write_form(tmp_path / "a.jsonl", TEXTS)
    joined, separate = zoo.load_data(path), zoo.load_data(path, documents="separate")
    a, b = joined.draw(context=100, batch=4, step=0), separate.draw(context=100, batch=4, step=0)
    assert a.documents is None
    assert torch.equal(a.inputs, b.inputs)
    ends = b.targets == IGNORE
    assert ends.any()
    assert torch.equal(a.targets[~ends], b.targets[~ends])
    assert (b.inputs[ends] == ord("\n")).all()


def test_masked_tokens_of_separate_documents(tmp_path, write_form):
    from zoo.data.load import load_source

    path = str(write_form(tmp_path / "a.jsonl", TEXTS))
    options = {"tokenizer": "byte", "validation_fraction": 0.1, "objective": "masked"}
    data = load_source(path, documents="separate", **options)
    assert data.draw(context=80, batch=4, step=0).documents.max() > 0
    assert all(batch.documents is not None for batch in data.validation_batches(context=80, batch=4))
    assert data.unigram_loss(context=80) > 0
    assert load_source(path, **options).draw(context=80, batch=4, step=0).documents is None


def test_a_large_text_is_split_by_position_and_by_file(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "LARGE", 1000)
    text = "".join(TEXTS)
    (tmp_path / "a.txt").write_text(text)
    data = zoo.load_data(tmp_path / "a.txt", tokenizer="char")
    assert isinstance(data, ShardedText)
    train, validation = (
        data.tokenizer.decode(np.asarray(data.train)),
        data.tokenizer.decode(np.asarray(data.validation)),
    )
    assert train + validation == text
    assert train.endswith("\n")
    assert len(validation) == pytest.approx(0.1 * len(text), abs=300)
    (tmp_path / "set").mkdir()
    for number, each in enumerate(TEXTS):
        (tmp_path / "set" / f"{number:03}.txt").write_text(each)
    (tmp_path / "set" / "binary.bin").write_bytes(b"\0\1" * 4000)
    folder = zoo.load_data(tmp_path / "set")
    assert sorted(documents_of(folder, folder.train) + documents_of(folder, folder.validation)) == sorted(
        each + "\n" for each in TEXTS
    )


def test_a_text_without_lines_or_spaces_is_cut_between_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "LARGE", 1000)
    text = "é€😀日" * 3000
    (tmp_path / "a.txt").write_text(text)
    data = zoo.load_data(tmp_path / "a.txt", tokenizer="char")
    assert data.tokenizer.decode(np.concatenate([np.asarray(data.train), np.asarray(data.validation)])) == text


def test_a_small_text_is_what_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("".join(TEXTS))
    assert not isinstance(zoo.load_data(tmp_path / "a.txt"), ShardedText)
    assert inputs.LARGE == 2**26


def test_merges_are_learned_from_the_training_documents_alone(tmp_path, write_form):
    threshold = 2**64 // 10
    apart = [
        text for text in (f"qqxxqq {n} qqxxqq" for n in range(400)) if is_for_validation(digest_of(text), threshold)
    ]
    path = write_form(tmp_path / "a.jsonl", TEXTS + apart)
    data = zoo.load_data(path, tokenizer="bpe(vocab_size=400)")
    assert {text + "\n" for text in apart} <= set(documents_of(data, data.validation))
    assert not any(b"qq" in piece for piece in data.tokenizer.pieces)
    reader = Reader(inputs.find_inputs(str(path), "text"), 0.1)
    assert list(TrainingSample(reader, threshold)) == documents_of(data, data.train)
    some = list(TrainingSample(reader, threshold, limit=8000))
    assert 2000 < sum(map(len, some)) < 12000
    first, last = (int(text.split()[1].strip(":")) for text in (some[0], some[-1]))
    assert first < 150
    assert last > 250


def test_a_byte_order_mark_and_empty_lines_are_no_text(tmp_path, write_form):
    plain = write_form(tmp_path / "a.jsonl", TEXTS)
    lines = plain.read_text().splitlines(keepends=True)
    other = tmp_path / "b.jsonl"
    empty = '\n   \n{"text": ""}\n{"text": null}\r\n'
    other.write_bytes(b"\xef\xbb\xbf" + "".join([*lines[:50], empty, *lines[50:]]).rstrip("\n").encode())
    assert zoo.load_data(other).sha256 == zoo.load_data(plain).sha256


def test_the_field_may_have_another_name(tmp_path, write_form):
    for name in ("a.jsonl", "a.parquet"):
        path = write_form(tmp_path / name, TEXTS, field="body")
        assert zoo.load_data(path, text_field="body").settings["text_field"] == "body"


def test_nulls_and_dictionaries_of_a_table(tmp_path, write_form):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    expected = zoo.load_data(write_form(tmp_path / "a.jsonl", TEXTS)).sha256
    column = arrow.array([*TEXTS[:7], None, *TEXTS[7:]])
    for number, values in enumerate([column, column.dictionary_encode(), column.cast(arrow.large_string())]):
        path = tmp_path / f"{number}.parquet"
        parquet.write_table(arrow.table({"text": values}), path, row_group_size=33)
        assert zoo.load_data(path).sha256 == expected


@pytest.mark.slow
def test_a_run_trains_and_is_resumed_from_where_its_data_was_moved(tmp_path, write_form, monkeypatch):
    from zoo.train.session import resume, start
    from zoo.train.settings import Settings

    monkeypatch.chdir(tmp_path)
    write_form(tmp_path / "a.jsonl", TEXTS)
    settings = Settings(
        data="a.jsonl", mixer="correlation", layers=1, dim=16, heads=2, context=32, batch=2, steps=2, warmup=0,
        sample_tokens=8, documents="separate", threads=1,
    )  # fmt: skip
    summary = start(settings, root=tmp_path, out=tmp_path / "run", pages=False)
    environment = json.loads((tmp_path / "run" / "env.json").read_text())
    assert environment["data_path"] == str(tmp_path / "a.jsonl")
    assert environment["data_sha256"] == zoo.load_data("a.jsonl").sha256
    (tmp_path / "moved").mkdir()
    (tmp_path / "a.jsonl").rename(tmp_path / "moved" / "b.jsonl")
    with pytest.raises(zoo.UsageError, match=r"^the data 'a.jsonl' of the run is not there"):
        resume(tmp_path / "run", steps=3, pages=False)
    again = resume(tmp_path / "run", steps=3, data=str(tmp_path / "moved" / "b.jsonl"), pages=False)
    assert again.steps == summary.steps + 1
    write_form(tmp_path / "moved" / "b.jsonl", TEXTS[:-1])
    with pytest.raises(zoo.UsageError, match=r"b.jsonl is not the text with which the run began"):
        resume(tmp_path / "run", steps=4, data=str(tmp_path / "moved" / "b.jsonl"), pages=False)


def test_a_run_of_an_earlier_version_read_every_file_as_text(tmp_path, write_form, monkeypatch):
    from zoo.data.text import load_text
    from zoo.train.find_data import find_source
    from zoo.train.settings import Settings

    path = str(write_form(tmp_path / "a.jsonl", TEXTS))
    settings = Settings(data=path, context=32)
    source, place = find_source(settings, sha256=load_text(path).sha256, recorded=path)
    assert (type(source), place) == (Dataset, path)
