"""What the fuzzing feeds: for each reader some valid inputs, the words of their language, and how one is read."""

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.data.tokenize import tokenizer_from_json
from zoo.files.logs import read_rows, read_samples, table
from zoo.model.build import check_pattern
from zoo.plugin import registry
from zoo.plugin.pattern import parse, parse_call
from zoo.train.inspection import FOLDER, INDEX, read_inspection
from zoo.train.manifest import MANIFEST, encode_manifest, read_sealed
from zoo.train.resolve import read_assignments, read_file
from zoo.train.run_directory import RunDirectory
from zoo.train.settings import Settings, validate
from zoo.train.verify import UnusableError, verify

PATTERNS = [
    "correlation*3, dot-product(window=64)",
    "(dot-product(heads=2) + involution/mlp(expansion=2))*2, correlation",
    "leviathan-moe/none, mixer-zoo:dot-product@a, dot-product@a",
    "((correlation*2, involution)*3, dot-product/swiglu(hidden=337))*4",
    "qwen3-next",
    'correlation(max_lag=4, name="a b", values=[1, 2.5, -3e-5], on=true, off=none)',
    "retention(heads=4), gated-delta/moe(experts=4)",
]
_PATTERN_WORDS = [
    *'()[],*+/@:=" .-_',
    "dot-product",
    "correlation",
    "heads",
    "window",
    "mlp",
    "none",
    "true",
    "1024",
    "1e9",
]
_ASSIGNMENTS = ["steps=10", "lr=1e-3", "clip=none", "positions=learned", 'mixer="a, b"', "max_time=90s", "layers=4"]
_ASSIGNMENT_WORDS = [
    *Settings.model_fields,
    *"=[]{}\"'#.,",
    "none",
    "true",
    "inf",
    "nan",
    "1979-05-27",
    "beta1",
    "0x10",
]
_JSON_WORDS = [*'{}[]":,', "null", "true", "1e5", "-1", "steps", "mixer", "sha256", "files", "format", "step", "size"]
_ENTRY_POINTS = "[zoo]\nname = json\nother = canary:hook\n[console_scripts]\nx = y:z\n"
_METADATA = "Metadata-Version: 2.1\nName: some-plugin\nVersion: 1.2\nSummary: text\n\nbody\n"


class Target(NamedTuple):
    """A reader of inputs.

    Attributes:
        valid: inputs that it accepts: texts, or JSON values.
        words: of the language of its texts; none for JSON values, whose structure is changed.
        read: reads one, and raises nothing but a `ZooError`, or what it documents.
        share: of all inputs.
        documented: what it may raise besides.
    """

    valid: Sequence[Any]
    words: Sequence[str]
    read: Callable[[Any], object]
    share: float
    documented: tuple[type[Exception], ...] = ()


def targets(folder: Path, ended: Path) -> dict[str, Target]:
    """All readers by name.

    Args:
        folder: for the files that they read.
        ended: a run that has ended.
    """
    run = RunDirectory(ended)
    checkpoint = max((ended / "checkpoints").iterdir())
    tables = {name: json.loads((ended / name).read_bytes()) for name in ("config.json", "env.json", "summary.json")}
    text = {
        name: [(ended / name).read_text(encoding="utf-8")] for name in ("metrics.jsonl", "samples.txt", "events.jsonl")
    }
    manifests = [json.loads((place / MANIFEST).read_bytes()) for place in (ended, checkpoint)]
    configs = [json.dumps(tables["config.json"]), json.dumps(tables["env.json"])]
    inspection = json.loads((ended / FOLDER / INDEX).read_bytes())
    files = Files(folder, checkpoint)
    return {
        "a pattern": Target(PATTERNS, _PATTERN_WORDS, _read_pattern, 0.1),
        "one name with options": Target(["bpe(vocab_size=8192)", "adamw"], _PATTERN_WORDS, parse_call, 0.04),
        "a pattern of known mixers": Target(PATTERNS, _PATTERN_WORDS, check_pattern, 0.04),
        "an assignment": Target(_ASSIGNMENTS, _ASSIGNMENT_WORDS, lambda text: read_assignments([text]), 0.12),
        "an assignment, validated": Target(
            _ASSIGNMENTS, _ASSIGNMENT_WORDS, lambda text: validate(read_assignments([text])), 0.1
        ),
        "settings": Target([tables["config.json"]], (), _read_settings, 0.08),
        "config.json as bytes": Target(configs, _JSON_WORDS, files.config, 0.1),
        "a file of settings": Target(configs, _JSON_WORDS, files.settings, 0.06),
        "a manifest as bytes": Target([json.dumps(m) for m in manifests], _JSON_WORDS, files.manifest, 0.06),
        "a manifest with its checksum": Target(manifests, (), files.sealed, 0.04),
        "a checkpoint's manifest": Target(manifests[1:], (), files.checkpoint, 0.02, (UnusableError,)),
        "metrics.jsonl": Target(text["metrics.jsonl"], _JSON_WORDS, files.rows, 0.08),
        "events.jsonl": Target(text["events.jsonl"], _JSON_WORDS, files.rows, 0.04),
        "samples.txt": Target(
            text["samples.txt"], ["===", " step ", "9", ", ", " characters ===\n"], files.samples, 0.06
        ),
        "summary.json": Target([tables["summary.json"]], (), files.summary, 0.04),
        "tokenizer.json": Target([run.tokenizer], (), _read_tokenizer, 0.03),
        "inspection.json": Target([inspection], (), files.inspection, 0.02),
        "entry points": Target([_ENTRY_POINTS], [*"[]=:\n.", "zoo", "json"], files.entry_points, 0.005),
        "metadata": Target([_METADATA], ["Name: ", "Version: ", "\n", ": "], files.metadata, 0.005),
    }


def _read_pattern(text: str) -> None:
    pattern = parse(text)
    assert parse(str(pattern)) == pattern
    pattern.layers()


def _read_settings(values: Any) -> None:
    if isinstance(values, dict):
        settings = validate(values)
        for name in (
            "pattern",
            "channel_mixer_call",
            "residual_call",
            "tokenizer_call",
            "optimizer_call",
            "text_objective",
        ):
            getattr(settings, name)


def _read_tokenizer(values: Any) -> None:
    if isinstance(values, dict):  # as the reader of the file sees to
        tokenizer_from_json(values)


class Files:
    """Readers of files, each of which is written with the input first.

    Args:
        folder: where.
        checkpoint: whose manifest is replaced by the inputs.
    """

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self._run = folder / "fuzzed"
        self._checkpoint = checkpoint
        self._sealed = folder / "sealed"
        self._site = folder / "site"
        info = self._site / "some_plugin-1.2.dist-info"
        for place in (self._run / FOLDER, self._sealed, info):
            place.mkdir(parents=True, exist_ok=True)
        self._points, self._metadata = info / "entry_points.txt", info / "METADATA"
        self._points.write_text(_ENTRY_POINTS)
        self._metadata.write_text(_METADATA)
        (self._site / "canary.py").write_text("raise SystemExit('executed')")

    def config(self, text: str) -> None:
        self._write(self._run / "config.json", text)
        validate(RunDirectory.open(self._run).config)

    def settings(self, text: str) -> None:
        path = self._run / f"x.{'json' if len(text) % 2 else 'toml'}"
        self._write(path, text)
        validate(read_file(path))

    def manifest(self, text: str) -> None:
        self._write(self._sealed / MANIFEST, text)
        self._write(self._sealed / "config.json", "{}")
        read_sealed(self._sealed, "config.json")

    def sealed(self, content: Any) -> None:
        (self._sealed / MANIFEST).write_bytes(self._with_checksum(content))
        self._write(self._sealed / "config.json", "{}")
        read_sealed(self._sealed, "config.json")

    def checkpoint(self, content: Any) -> None:
        (self._checkpoint / MANIFEST).write_bytes(self._with_checksum(content))
        verify(self._checkpoint, int(self._checkpoint.name[5:]))

    def rows(self, text: str) -> None:
        self._write(self._run / "metrics.jsonl", text)
        table(read_rows(self._run / "metrics.jsonl"))

    def samples(self, text: str) -> None:
        self._write(self._run / "samples.txt", text)
        read_samples(self._run / "samples.txt")

    def summary(self, content: Any) -> None:
        self._write(self._run / "summary.json", json.dumps(content))
        _ = RunDirectory(self._run).summary

    def inspection(self, content: Any) -> None:
        self._write(self._run / FOLDER / INDEX, json.dumps(content))
        read_inspection(self._run)

    def entry_points(self, text: str) -> None:
        self._write(self._metadata, _METADATA)
        self._write(self._points, text)
        self._discover()

    def metadata(self, text: str) -> None:
        self._write(self._points, _ENTRY_POINTS)
        self._write(self._metadata, text)
        self._discover()

    def _discover(self) -> None:
        """Look for plugins in the folder alone; of none is it said that it may be loaded."""
        importlib.invalidate_caches()
        path, sys.path[:] = list(sys.path), [str(self._site)]
        try:
            assert "canary" not in sys.modules
            list(registry._entry_points({"ZOO_PLUGINS": ""}))
            [str(origin) for _, origin in registry._entry_points({})]
        finally:
            sys.path[:] = path

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_bytes(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)

    @staticmethod
    def _with_checksum(content: Any) -> bytes:
        table = content if isinstance(content, dict) else {"x": content}
        return encode_manifest({name: value for name, value in table.items() if name != "sha256"})
