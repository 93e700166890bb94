import io
import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_text_goes_to_stdout_and_the_speed_to_stderr(zoo, finished):
    result = zoo("generate", finished, "--prompt", "def ", "--tokens", 12)
    assert result.code == 0
    assert result.out.startswith("def ")
    assert len(result.out) == len("def ") + 12 + len("\n")
    assert result.err.startswith("12 tokens, ")
    assert result.err.endswith(" tokens/s\n")


@pytest.mark.slow
def test_json_says_the_same(zoo, finished):
    flags = ["--prompt", "def ", "--tokens", 12, "--temperature", 1.5, "--top-k", 9, "--top-p", 0.9, "--seed", 3]
    told = json.loads(zoo("generate", finished, *flags, "--json").out)
    assert list(told) == ["prompt", "text", "tokens", "tokens_per_second", "seed"]
    assert told["seed"] == 3
    assert told["tokens_per_second"] > 0
    assert zoo("generate", finished, *flags).out == f"def {told['text']}\n"


@pytest.mark.slow
def test_the_seed_decides(zoo, finished):
    first, again, other = (zoo("generate", finished, "--tokens", 40, "--seed", seed).out for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.slow
def test_a_prompt_from_stdin(zoo, finished, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("return"))
    assert zoo("generate", finished, "--prompt", "-", "--tokens", 1).out.startswith("return")


def test_sampled_bytes_do_not_steer_the_terminal(zoo, finished, monkeypatch):
    monkeypatch.setattr("zoo.run.Run.generate", lambda *_args, **_named: iter(["a\x1b[2J", "\tb\n"]))
    assert zoo("generate", finished, "--prompt", "x", terminal=True).out == "xa\ufffd[2J\tb\n\n"
    assert zoo("generate", finished, "--prompt", "x").out == "xa\x1b[2J\tb\n\n"


@pytest.mark.slow
def test_a_closed_pipe_ends_quietly(finished):
    command = [sys.executable, "-c", "from zoo.cli.main import main; main()", "generate", str(finished)]
    with subprocess.Popen([*command, "--tokens", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(5)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


@pytest.mark.slow
def test_a_flipped_bit_in_the_tokenizer_is_named_and_gives_no_other_text(zoo, trained):
    path = trained / "tokenizer.json"
    content = path.read_bytes()
    for place in range(0, len(content), 5):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        result = zoo("generate", trained, "--tokens", 4)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(f"error: {path} is damaged: it has changed since it was written; put back a good")
        assert result.err.count("\n") == 1


def test_a_damaged_tokenizer_of_an_earlier_run_is_told_in_a_line(zoo, trained):
    (trained / "manifest.json").unlink()
    (trained / "tokenizer.json").write_text('{"name": "char", "charicters": "ab"}')
    result = zoo("generate", trained, "--tokens", 4)
    assert result.code == 2
    told = "the saved tokenizer 'char' is damaged (KeyError: 'characters'): put back a good copy"
    assert result.err == f"error: {told}\n"
