import pytest

from zoo.data.prompts import read_prompts
from zoo.errors import UsageError


@pytest.mark.parametrize(
    ("name", "content", "prompts"),
    [
        ("p.txt", b"def \nclass\n", ["def ", "class"]),
        ("p.txt", b"\n\ndef \n\n  \nclass", ["def ", "  ", "class"]),
        ("p.txt", b"def \r\nclass\r\n\r\n", ["def ", "class"]),
        ("p.txt", "\ufeffé\u2028\x0bz\n".encode(), ["é\u2028\x0bz"]),
        ("p.jsonl", b'"def "\n"a\\nb"\n""\n', ["def ", "a\nb", ""]),
        ("p.jsonl", b'{"prompt": "def ", "id": 3}\n\n \r\n"x"\r\n', ["def ", "x"]),
    ],
)
def test_the_prompts_of_a_file(tmp_path, name, content, prompts):
    path = tmp_path / name
    path.write_bytes(content)
    assert read_prompts(path) == prompts


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("p.txt", b"", "{} has no prompts: write one a line"),
        ("p.txt", b"\n\r\n", "{} has no prompts: write one a line"),
        ("p.jsonl", b" \n", "{} has no prompts: write one a line"),
        ("p.txt", b"a\n\xff", "{} is not UTF-8 text: there is a byte 0xff at offset 2; save it as UTF-8"),
        ("p.txt", b"a\n\0", "{} is not UTF-8 text: there is a NUL byte at offset 2; save it as UTF-8"),
        ("p.jsonl", b'"a"\n\n"b\n', 'line 3 of {} is not JSON: expected a string, or an object with a string "prompt"'),
        ("p.jsonl", b'"a"\n3\n', 'line 2 of {} has no prompt: expected a string, or an object with a string "prompt"'),
        ("p.jsonl", b'{"text": "a"}', 'line 1 of {} has no prompt: expected a string, or an object with a string '
         '"prompt"'),
        ("p.jsonl", b'{"prompt": null}', 'line 1 of {} has no prompt: expected a string, or an object with a string '
         '"prompt"'),
        ("p.jsonl", b"[" * 100_000, 'line 1 of {} is not JSON: expected a string, or an object with a string "prompt"'),
        ("p.json", b'["a"]', "{} should end in .txt, with a prompt a line, or in .jsonl, with a JSON string a line"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_prompts_is_refused_in_a_line(tmp_path, name, content, text):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_prompts(path)
    assert str(error.value) == text.format(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.txt is not there: name a file of prompts$"):
        read_prompts(tmp_path / "none.txt")
    with pytest.raises(UsageError, match=r"is a folder: name a file of prompts$"):
        read_prompts(tmp_path)
