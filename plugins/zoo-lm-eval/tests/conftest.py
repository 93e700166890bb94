import json
import os
import tempfile

_CACHE = tempfile.TemporaryDirectory()  # removed with the process
os.environ |= {"HF_HOME": _CACHE.name, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}  # before they are imported

import pytest  # noqa: E402
import torch  # noqa: E402

import zoo  # noqa: E402

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "and",
    "sees",
    "naïve",
    "cat",
    "in",
    "its",
]


def some_text(lines, start=0):
    """Lines of words; the same for the same numbers."""
    picked = torch.randint(len(WORDS), (lines, 5), generator=torch.Generator().manual_seed(start)).tolist()
    return "".join(" ".join(WORDS[word] for word in line) + ".\n" for line in picked)


@pytest.fixture(scope="session")
def make_run(tmp_path_factory):
    """Saves a model of contrasts, which was not trained, as a run; each only once."""
    made = {}

    def make(mixer="dot-product", *, tokenizer="byte", documents="joined", positions="none"):
        key = mixer, tokenizer, documents, positions
        if key not in made:
            folder = tmp_path_factory.mktemp("run")
            place = folder / "text"
            place.mkdir()
            for index in range(6):
                (place / f"{index}.txt").write_text(some_text(12, index), encoding="utf-8")
            data = zoo.load_data(str(place), tokenizer=tokenizer, documents=documents)
            torch.manual_seed(0)
            shape = {"dim": 16, "layers": 2, "heads": 2, "context": 32, "positions": positions}
            model = zoo.build_model(mixer, vocab_size=data.vocab_size, **shape)
            with torch.no_grad():
                model.embedding.weight.mul_(40)
            made[key] = zoo.load_run(zoo.save_run(model, folder / "run", data=data)), data
        return made[key]

    return make


@pytest.fixture
def write_task(tmp_path):
    """Writes a task of the harness and its data, and returns its file."""

    def write(name, documents, **options):
        lines = "".join(json.dumps(document) + "\n" for document in documents)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        config = {"task": name, "dataset_path": "json", "test_split": "test"}
        config |= {"dataset_kwargs": {"data_files": {"test": str(tmp_path / f"{name}.jsonl")}}, **options}
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")  # which is YAML, too
        return path

    return write


@pytest.fixture
def rolling(write_task):
    """Writes a task of texts whose bits per byte are measured."""

    def write(name, *texts):
        options = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}"}
        return write_task(
            name, [{"text": text} for text in texts], **options, metric_list=[{"metric": "bits_per_byte"}]
        )

    return write


@pytest.fixture
def choices(write_task):
    """A task of multiple choice."""
    options = {"output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": "{{c}}", "doc_to_target": "a"}
    documents = [{"q": q, "c": ["fox", "dog sees", "cat"], "a": 1} for q in ("the", "a lazy", "in its")]
    return write_task("choices", documents, **options, metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}])
