"""What is measured, on which data, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import UsageError
from zoo.lab.evaluation.drawing import binned, pictures_of
from zoo.lab.evaluation.evaluation import evaluate
from zoo.lab.evaluation.result import as_table
from zoo.lab.evaluation.writing import check_folder, folder_for, write_evaluation

TEXT = "the cat sat on the mat, and the dog sat on the cat. " * 60


@pytest.fixture
def place(own_world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def saved(name, data, mixer="dot-product", **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kept = {"dim": 16, "layers": 1, "heads": 2, "context": 16} | options
        model = zoo.build_model(mixer, vocab_size=data.vocab_size, **kept)
    return zoo.load_run(zoo.save_run(model, name, data=data))


@pytest.fixture
def text_run(place):
    return saved("run", zoo.load_data("text.txt", tokenizer="char"))


def test_a_text_by_position_and_by_length(text_run):
    found = zoo.evaluate(text_run)
    tokens = torch.from_numpy(np.asarray(zoo.load_data("text.txt", tokenizer="char").validation[:]).astype(np.int64))
    nats, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(tokens) - 1, 16):
            window = tokens[start : start + 17]
            logits = text_run.model(window[None, :-1]).logits[0].double()
            nats += float(torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum"))
            count += len(window) - 1
    assert found.loss == pytest.approx(nats / count, abs=1e-6)
    assert found.targets == count == len(tokens) - 1
    assert found.perplexity == pytest.approx(math.exp(found.loss))
    assert found.bits_per_byte == pytest.approx(found.loss / math.log(2))  # a character of it is a byte
    assert (found.own, found.data, found.metric, found.precision) == (True, "text.txt", "loss", "fp32")
    assert [result.length for result in found.lengths] == [16, 32, 64, 128]
    assert {result.targets for result in found.lengths} == {count}
    assert found.lengths[0].loss == pytest.approx(found.loss, abs=1e-6)
    assert [len(result.losses) for result in found.lengths] == [16, 32, 64, 128]
    assert len(found.losses) == 128
    assert found.losses[:16] == found.lengths[0].losses
    assert found.losses[64:] == found.lengths[3].losses[64:]
    assert [picture.name for picture in pictures_of(found)] == ["position", "length"]


def test_other_lengths_and_fewer_tokens(text_run):
    found = evaluate(text_run, lengths=[48, 24, 48], tokens=100)
    assert [result.length for result in found.lengths] == [24, 48]
    assert (found.last, found.targets) == (16, 96)
    assert evaluate(text_run, lengths=[16]).lengths == ()
    assert len(evaluate(text_run, lengths=[16]).losses) == 16
    assert evaluate(text_run, lengths=[8]).last == 8


def test_another_text_is_read_whole_with_the_tokenizer_of_the_run(text_run, place):
    (place / "other.txt").write_text("a cat and a dog on the mat. " * 10)
    found = evaluate(text_run, data="other.txt")
    assert (found.own, found.data, found.targets) == (False, "other.txt", 279)
    assert [result.length for result in found.lengths] == [16, 32, 64, 128]
    (place / "copy.txt").write_text(TEXT)
    assert evaluate(text_run, data="copy.txt").own
    (place / "brief.txt").write_text("a cat and a dog on the mat. ")
    brief = evaluate(text_run, data="brief.txt")
    assert brief.lengths == ()
    assert brief.notes == ("'brief.txt' is too short for sequences of 32 tokens and more",)


def test_a_model_that_takes_no_more_than_its_context(place):
    run = saved("hyena", zoo.load_data("text.txt", tokenizer="char"), mixer="hyena")
    found = evaluate(run)
    assert (found.lengths, found.notes) == ((), ("the model takes at most 16 tokens: longer sequences are left out",))
    with pytest.raises(
        UsageError, match=r"^`lengths`=17 is more than the 16 tokens that the model takes: choose less$"
    ):
        evaluate(run, lengths=[16, 17])


@pytest.mark.slow
def test_a_task_by_length_and_by_slice(place):
    data = zoo.load_data("parity")
    run = saved("parity", data, context=data.task.length)
    found = evaluate(run, tokens=4096)
    lengths = [str(length) for length in (data.task.length, *data.lengths)]
    assert list(found.accuracies["length"]) == lengths == list(found.guess_levels["length"])
    assert found.accuracy == found.accuracies["length"][lengths[0]]
    assert (found.losses, found.lengths, found.own) == ((), (), True)
    assert math.isnan(found.perplexity)
    assert [picture.title for picture in pictures_of(found)] == ["Accuracy by length"]
    assert list(evaluate(run, tokens=512, lengths=[8]).accuracies["length"]) == ["8"]
    other = evaluate(run, data="parity(length=20)", tokens=512)
    assert (other.own, next(iter(other.accuracies["length"]))) == (False, "20")
    assert evaluate(run, data="parity", tokens=512).own


MISTAKES = [
    ({"data": "parity"}, r"run learned a text and knows nothing of the task parity: pass a text to `data`"),
    ({"data": "nowhere.txt"}, r"there is no data 'nowhere.txt'"),
    ({"data": "greek.txt"}, r"the text has characters outside of the vocabulary: '\\u03b1'"),
    ({"data": "tiny.txt"}, r"'tiny.txt' is too short: it has no more than the 16 tokens of one sequence"),
    ({"lengths": [0]}, r"`lengths`=0 should be 1 or more"),
    ({"lengths": []}, r"`lengths` is empty"),
    ({"lengths": [9999]}, r"`lengths`=9999 is more than the text of 'text.txt' fills"),
    ({"tokens": 0}, r"`tokens`=0 should be 1 or more"),
    ({"precision": "fp8"}, r"precision='fp8' should be"),
]


@pytest.mark.parametrize(("options", "text"), MISTAKES)
def test_mistakes_with_a_text(text_run, place, options, text):
    (place / "greek.txt").write_text("\u03b1" * 100)
    (place / "tiny.txt").write_text("a cat")
    with pytest.raises(UsageError, match=text):
        evaluate(text_run, **options)


def test_mistakes_with_a_task(place):
    data = zoo.load_data("parity")
    run = saved("parity", data, context=data.task.length)
    with pytest.raises(UsageError, match=r"parity learned the task parity and reads no text: pass a task to `data`"):
        evaluate(run, data="text.txt")
    with pytest.raises(
        UsageError, match=r"mqar.* has 8192 tokens, and the model of .*parity 2: pass a task of the same"
    ):
        evaluate(run, data="mqar")


def test_a_run_without_data_is_asked_for_some(place):
    model = zoo.build_model("dot-product", vocab_size=256, dim=16, layers=1, heads=2, context=16)
    folder = zoo.save_run(model, "bare", tokenizer=zoo.load_data("text.txt").tokenizer)
    with pytest.raises(UsageError, match=r"bare was saved without its data: name a text with `data`$"):
        evaluate(folder)
    assert not evaluate(folder, data="text.txt", tokens=64).own


def test_the_folder_holds_figures_pictures_and_a_page(text_run, place):
    found = evaluate(text_run)
    page = write_evaluation(found, folder_for(found, None), command="zoo eval run")
    folder = text_run.path / "eval"
    assert page == folder / "report.html"
    assert json.loads((folder / "eval.json").read_text()) == as_table(found)
    assert {path.name for path in folder.iterdir()} == {
        *(f"{name}.{form}" for name in ("position", "length") for form in ("png", "svg")),
        *("eval.json", "report.html"),
    }
    text = page.read_text()
    assert text.count("<svg") == 2
    assert f"{found.loss:.4f}" in text
    (folder / "mine.txt").write_text("mine")
    short = evaluate(text_run, lengths=[16])
    write_evaluation(short, folder, command="zoo eval run --length 1x")
    assert not (folder / "length.png").exists()
    assert (folder / "mine.txt").read_text() == "mine"


def test_what_else_lies_there_is_left_alone(text_run, place):
    found = evaluate(text_run, lengths=[16], data="text.txt")
    other = text_run.path / "eval"
    (place / "other.txt").write_text(TEXT[::-1])
    of_other = evaluate(text_run, lengths=[16], data="other.txt")
    assert folder_for(of_other, None).parent == other
    write_evaluation(of_other, folder_for(of_other, None), command="")
    write_evaluation(found, other, command="")
    assert (folder_for(of_other, None) / "eval.json").is_file()
    (place / "full").mkdir()
    (place / "full" / "note").write_text("mine")
    (place / "link").symlink_to(place / "full")
    for name, text in {"full": "holds other files", "link": "is a link", "text.txt": "is a file"}.items():
        with pytest.raises(UsageError, match=rf"{name} {text}"):
            check_folder(place / name)


def test_the_curves_are_the_figures(text_run):
    found = evaluate(text_run)
    position, length = (picture.draw().axes[0] for picture in pictures_of(found))
    every, last = length.lines[:2]
    assert every.get_xdata().tolist() == last.get_xdata().tolist() == [16, 32, 64, 128]
    assert every.get_ydata().tolist() == [result.loss for result in found.lengths]
    assert last.get_ydata().tolist() == [result.last_loss for result in found.lengths]
    assert position.lines[0].get_ydata().tolist() == binned(np.array(found.losses))[1].tolist()
    assert position.lines[1].get_xdata() == length.lines[2].get_xdata() == [16, 16]  # where training ended
    bottom, top = position.get_ylim()
    settled = position.lines[0].get_ydata()[8:]
    assert bottom < min(settled) <= max(settled) < top


def test_positions_close_together_are_averaged():
    places, means = binned(np.arange(1.0, 65.0))
    assert places[:3].tolist() == pytest.approx([1, 2, 3])
    assert means[:3].tolist() == [1, 2, 3]
    assert (np.diff(places) > 0).all()
    assert 40 < places[-1] < 64
    assert binned(np.array([2.0]))[1].tolist() == [2]
    for length in range(2, 130):
        assert np.isfinite(binned(np.ones(length))[1]).all()
