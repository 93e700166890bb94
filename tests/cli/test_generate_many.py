import io
import json
import os
import signal
import subprocess
import sys

import pytest

import zoo as library
from zoo.model.texts import Continuation

PROMPTS = ["def answer", "if", "return 42", "q"]


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"{prompt}\n" for prompt in PROMPTS))
    return path


def test_each_prompt_stands_with_its_text_under_a_heading(zoo, finished, prompts):
    result = zoo("generate", finished, "--prompts", prompts, "--tokens", 7)
    assert result.code == 0
    written = list(library.load_run(finished).generate_many(PROMPTS, tokens=7))
    expected = [f"=== prompt {text.index + 1} of 4 ===\n{text.prompt}{text.text}\n" for text in written]
    assert result.out == "\n".join(expected)
    assert [text.prompt for text in written] == ["if", "q", "def answer", "return 42"]  # the others are much longer
    assert {len(text.text) for text in written} == {7}
    assert result.err.startswith("4 texts of 7 tokens, ")
    assert result.err.endswith(" tokens/s\n")


def test_json_has_a_line_for_each_text(zoo, finished, prompts):
    flags = ["--prompts", prompts, "--samples", 2, "--tokens", 5, "--seed", 4, "--temperature", 2, "--batch", 3]
    result = zoo("generate", finished, *flags, "--json")
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [list(row) for row in rows] == [["prompt", "text", "index", "sample", "tokens", "seed"]] * 8
    assert {(row["prompt"], row["index"], row["sample"]) for row in rows} == {
        (prompt, index, sample) for index, prompt in enumerate(PROMPTS) for sample in (0, 1)
    }
    assert {(row["tokens"], row["seed"]) for row in rows} == {(5, 4)}
    assert [row["index"] for row in rows] == [1, 3, 3, 1, 0, 2, 2, 0]  # the shortest first, by batches
    said = zoo("generate", finished, *flags).out
    assert all(f"{row['prompt']}{row['text']}\n" in said for row in rows)
    assert "=== prompt 2 of 4, sample 2 of 2 ===\nif" in said


def texts(zoo, finished, *flags):
    out = zoo("generate", finished, *flags, "--tokens", 12, "--json").out
    return {(row["index"], row["sample"]): row["text"] for row in map(json.loads, out.splitlines())}


def test_samples_differ_and_the_seed_decides(zoo, finished):
    first = texts(zoo, finished, "--prompt", "def", "--samples", 4)
    assert list(first) == [(0, sample) for sample in range(4)]
    assert len(set(first.values())) == 4
    assert first == texts(zoo, finished, "--prompt", "def", "--samples", 4)
    assert first != texts(zoo, finished, "--prompt", "def", "--samples", 4, "--seed", 1)
    assert texts(zoo, finished, "--prompt", "def", "--samples", 2) == {key: first[key] for key in list(first)[:2]}


@pytest.mark.parametrize("temperature", [0, 1])
def test_the_batch_changes_no_text(zoo, finished, prompts, temperature):
    flags = ["--prompts", prompts, "--samples", 2, "--temperature", temperature]
    one, eight = (texts(zoo, finished, *flags, "--batch", batch) for batch in (1, 8))
    assert one == eight
    assert len(one) == 8


def test_greedily_each_is_what_it_is_alone(zoo, finished, prompts):
    for (index, _), text in texts(zoo, finished, "--prompts", prompts, "--temperature", 0).items():
        alone = zoo("generate", finished, "--prompt", PROMPTS[index], "--temperature", 0, "--tokens", 12)
        assert alone.out == f"{PROMPTS[index]}{text}\n"


def test_one_prompt_is_a_line_of_json_too_if_it_is_of_a_file(zoo, finished, tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text('"def\\nq"\n')
    result = zoo("generate", finished, "--prompts", path, "--tokens", 3)
    assert result.out.startswith("=== prompt 1 of 1 ===\ndef\nq")
    assert result.err.startswith("1 text of 3 tokens, ")
    assert json.loads(zoo("generate", finished, "--prompts", path, "--tokens", 3, "--json").out)["prompt"] == "def\nq"


def test_samples_have_a_heading_of_their_own(zoo, finished):
    said = zoo("generate", finished, "--prompt", "", "--samples", 2, "--tokens", 3).out
    assert said.startswith("=== sample 1 of 2 ===\n")
    assert "\n\n=== sample 2 of 2 ===\n" in said


def test_an_empty_prompt_is_not_the_default_one(zoo, finished):
    assert json.loads(zoo("generate", finished, "--prompt", "", "--tokens", 1, "--json").out)["prompt"] == ""
    assert json.loads(zoo("generate", finished, "--tokens", 1, "--json").out)["prompt"] == "\n"


def test_a_prompt_of_stdin_has_samples(zoo, finished, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("return"))
    assert zoo("generate", finished, "--prompt", "-", "--samples", 2, "--tokens", 1).out.count("\nreturn") == 2


@pytest.mark.parametrize(
    ("flags", "content", "text"),
    [
        (["--prompt", "x"], "q\n", "--prompt and --prompts both say what to continue: give one of them"),
        (["--batch", 0], "q\n", "--batch 0 should be 1 or more"),
        (["--samples", 0], "q\n", "--samples 0 should be 1 or more"),
        (["--precision", "fp16"], "q\n", "--precision fp16 should be fp32 or bf16"),
        (["--tokens", 0], "q\n", "tokens=0 should be 1 or more"),
        (["--top-k", 0], "q\n", "top_k=0 should be 1 or more"),
        ([], "", "FILE has no prompts: write one a line"),
        ([], "q\n\nq\u00e9\n", "prompt 2: the text has characters outside of the vocabulary: '\\xe9'"),
    ],
)
def test_a_mistake_is_told_in_a_line_before_anything_is_written(zoo, finished, prompts, flags, content, text):  # noqa: PLR0917
    prompts.write_text(content, encoding="utf-8")
    result = zoo("generate", finished, "--prompts", prompts, *flags)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: {text.replace('FILE', str(prompts))}")
    assert result.err.count("\n") == 1


def test_the_number_of_an_only_prompt_is_not_told(zoo, finished):
    result = zoo("generate", finished, "--prompt", "z", "--samples", 2)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: the text has characters outside of the vocabulary: 'z'")


@pytest.mark.parametrize("flags", [["--samples", 0], ["--batch", 0]])
def test_numbers_of_a_single_prompt_are_checked_too(zoo, finished, flags):
    result = zoo("generate", finished, "--tokens", 1, *flags)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: {flags[0]} 0 should be 1 or more\n"


def test_a_missing_file_is_told_in_a_line(zoo, finished, tmp_path):
    result = zoo("generate", finished, "--prompts", tmp_path / "none.txt")
    assert (result.code, result.err) == (2, f"error: {tmp_path / 'none.txt'} is not there: name a file of prompts\n")


def test_what_is_finished_before_an_interrupt_is_written(zoo, finished, monkeypatch):
    def two(*_args, **_named):
        yield Continuation("a", "b", 0, 0)
        yield Continuation("c", "d", 1, 0)
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.run.Run.generate_many", two)
    result = zoo("generate", finished, "--samples", 3)
    assert (result.code, result.err) == (130, "interrupted\n")
    assert result.out.endswith("ab\n\n=== sample 1 of 3 ===\ncd\n")
    result = zoo("generate", finished, "--samples", 3, "--json")
    assert [json.loads(line)["text"] for line in result.out.splitlines()] == ["b", "d"]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_texts_are_written_as_soon_as_their_batch_is_finished(finished, prompts, flags):
    # few enough that no buffer is full before the end
    flags = ["--prompts", str(prompts), "--batch", "1", "--tokens", "1500", *flags]
    command = [sys.executable, "-m", "zoo", "generate", str(finished), *flags]
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment) as process:
        first = process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        rest, errors = process.stdout.read(), process.stderr.read()
        process.wait(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")
    if "--json" in flags:
        assert json.loads(first)["index"] == 3
    else:
        assert first == "=== prompt 4 of 4 ===\n"
        assert rest.endswith("\n")


@pytest.mark.slow
def test_a_closed_pipe_ends_quietly(finished, prompts):
    prompts.write_text("q\n" * 5000)
    command = [sys.executable, "-m", "zoo", "generate", str(finished), "--prompts", str(prompts), "--tokens", "9"]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_sampled_bytes_do_not_steer_the_terminal(zoo, finished, monkeypatch):
    monkeypatch.setattr(
        "zoo.run.Run.generate_many", lambda *_args, **_named: iter([Continuation("x", "\x1b[2J", 0, 0)])
    )
    assert zoo("generate", finished, "--samples", 2, terminal=True).out.endswith("x\ufffd[2J\n")


def test_weights_may_be_rounded(zoo, finished, prompts, monkeypatch):
    for place in ("zoo.model.linear.LARGE", "zoo.model.precision.LARGE"):
        monkeypatch.setattr(place, 0)
    result = zoo("generate", finished, "--prompts", prompts, "--tokens", 5, "--precision", "bf16")
    assert result.code == 0
    assert result.out.count("=== prompt") == 4
    with pytest.raises(library.UsageError, match=r"^`precision`=int8 should be fp32 or bf16$"):
        library.load_run(finished, precision="int8")
    matrices = [p for p in library.load_run(finished, precision="bf16").model.parameters() if p.ndim == 2]
    assert {str(matrix.dtype) for matrix in matrices} == {"torch.bfloat16"}
