import gzip
import json

import pytest

TEXTS = [f"Document {number}: é€ {'the cat sat. ' * (number % 9 + 1)}\nend" for number in range(400)]
"""Documents, each another one."""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks and shards of a few documents, so that little data has many of them."""
    from zoo.data.shards import fit, plain, read, write

    for module, name, value in (
        (read, "BLOCK", 2000),
        (fit, "BLOCK", 2000),
        (plain, "PIECE", 2000),
        (write, "SHARD", 9000),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def write_form():
    """Writes texts as a file of a form; its name says which."""

    def write(path, texts, field="text"):
        lines = "".join(json.dumps({"id": number, field: text}) + "\n" for number, text in enumerate(texts)).encode()
        if path.name.endswith(".parquet"):
            arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            parquet.write_table(arrow.table({"id": range(len(texts)), field: texts}), path, row_group_size=90)
        elif path.name.endswith(".zst"):
            path.write_bytes(pytest.importorskip("zstandard").compress(lines))
        else:
            path.write_bytes(gzip.compress(lines) if path.name.endswith(".gz") else lines)
        return path

    return write
