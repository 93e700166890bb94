import os
import subprocess

import pytest

from zoo.train.shell import join, quote


@pytest.mark.parametrize("word", ["plain", "runs/a b", "it's", "", "$HOME", "é…", "a\nb", "mqar(pairs=2)"])
def test_words_are_quoted_for_every_shell(word):
    assert read_by("sh", quote(word)) == word.encode()


@pytest.mark.parametrize("word", [b"caf\xe9", b"\xffabc/it's \\ $x", b"a\xe9\xe9f", b"\xe9\nd"])
def test_bytes_that_are_not_utf8_are_quoted_for_bash(word):
    quoted = quote(os.fsdecode(word))
    assert quoted.isprintable() or b"\n" in word
    assert read_by("bash", quoted) == word


def test_a_command():
    assert join(["zoo", "train", "--out", "a b", "caf\udce9"]) == r"zoo train --out 'a b' $'caf\xe9'"


def read_by(shell, quoted):
    return subprocess.run([shell, "-c", f"printf %s {quoted}"], capture_output=True, check=True).stdout
