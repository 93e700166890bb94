import hashlib
import json

import pytest

from zoo.errors import UsageError, ZooError
from zoo.train import manifest
from zoo.train.manifest import MANIFEST, encode_manifest, read_sealed, write_sealed
from zoo.train.run_directory import RunDirectory

TABLES = {
    "config.json": {"mixer": "correlation", "data": "Füße.txt", "lr": 1e-3, "layers": None},
    "env.json": {"torch": "2", "plugins": {"correlation": {"distribution": "mixer-zoo", "version": "1"}}},
    "tokenizer.json": {"name": "char", "characters": "\n abcü"},
}


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create(tmp_path, mixer="correlation", config=TABLES["config.json"], out=tmp_path / "run")
    run.write_environment(TABLES["env.json"])
    run.write_tokenizer(TABLES["tokenizer.json"])
    return run


def tables(run):
    opened = RunDirectory.open(run.path)
    return {"config.json": opened.config, "env.json": opened.environment, "tokenizer.json": opened.tokenizer}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TABLES, MANIFEST])
def test_every_flipped_bit_is_noticed(run, name):
    path = run.path / name
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        for bit in range(8):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            with pytest.raises(UsageError) as caught:
                tables(run)
            assert str(path) in str(caught.value)
            assert "has changed since it was written; put back a good copy, or remove" in str(caught.value)
            assert "\n" not in str(caught.value)
    path.write_bytes(content)
    assert tables(run) == TABLES


def test_other_damage_is_noticed_too(run):
    for content in ("", "{}", "[]", "null", '{"sha256": 1}', "{"):
        (run.path / MANIFEST).write_text(content)
        with pytest.raises(UsageError, match=r"manifest\.json is damaged"):
            tables(run)
    (run.path / MANIFEST).write_bytes(encode_manifest({"format": 2, "files": {}}))
    with pytest.raises(UsageError, match=r"manifest\.json has format 2; this version of zoo reads format 1"):
        tables(run)


def test_a_run_without_a_manifest_is_read_and_sealed_when_it_is_written_to(run):
    (run.path / MANIFEST).unlink()
    (run.path / "env.json").write_text('{"by": "hand"}')
    assert tables(run) == {**TABLES, "env.json": {"by": "hand"}}
    run.write_config(TABLES["config.json"])
    (run.path / "env.json").write_text('{"by": "a hand"}')
    with pytest.raises(UsageError, match=r"env\.json is damaged"):
        tables(run)


@pytest.mark.parametrize(
    "content", [{}, {"format": "1\n2"}, {"format": 1}, {"format": 1, "files": [1]}, {"format": 1, "files": {"a": 2}}]
)
def test_a_manifest_of_another_shape_is_damaged_whatever_its_checksum(run, content):
    (run.path / MANIFEST).write_bytes(encode_manifest(content))
    with pytest.raises(UsageError, match=r"manifest\.json is damaged: it .*; put back a good copy, or remove it"):
        tables(run)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("writes", range(4))
@pytest.mark.parametrize("again", range(4))
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(run, monkeypatch, writes, again):
    """Twice over: a run that was killed while it was written may be killed once more."""
    whole = manifest.write_atomically
    for number, limit in enumerate((writes, again)):
        before, made = run.config, []

        def write(path, content, made=made, limit=limit):
            if len(made) == limit:
                raise Killed
            made.append(path)
            whole(path, content)

        monkeypatch.setattr(manifest, "write_atomically", write)
        try:
            run.write_config({"number": number})
        except Killed:
            assert limit < 3
        assert run.config in (before, {"number": number})
        assert run.environment == TABLES["env.json"]
    monkeypatch.setattr(manifest, "write_atomically", whole)
    run.write_config({"last": 1})
    digest = hashlib.sha256((run.path / "config.json").read_bytes()).hexdigest()
    assert json.loads((run.path / MANIFEST).read_text())["files"]["config.json"] == [digest]


def test_a_reader_beside_a_writer_never_sees_damage(run, monkeypatch):
    """The file is replaced after the manifest was read and before the file is."""
    accepted = manifest._accepted

    def then_written(folder):
        known = accepted(folder)
        monkeypatch.setattr(manifest, "_accepted", accepted)
        run.write_config({"number": 1})
        return known

    monkeypatch.setattr(manifest, "_accepted", then_written)
    assert run.config == {"number": 1}


def test_a_place_that_cannot_be_read_is_told(tmp_path):
    write_sealed(tmp_path, "a.json", "{}")
    assert read_sealed(tmp_path, "a.json") == b"{}"
    (tmp_path / "a.json").unlink()
    with pytest.raises(FileNotFoundError):
        read_sealed(tmp_path, "a.json")
    (tmp_path / "a.json").mkdir()
    with pytest.raises(ZooError, match=r"cannot read .*a\.json: Is a directory"):
        read_sealed(tmp_path, "a.json")
