"""The model card of an export."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from zoo_transformers_plugin.tokenizers import TokenIds

from zoo.data.text import corpus_call
from zoo.files.atomic import write_atomically
from zoo.model.parameters import count_parameters
from zoo.run import Run
from zoo.train.run_directory import RunDirectory
from zoo.train.settings import Settings
from zoo.train.summary import Summary
from zoo_transformers.configuration import ZooConfig

LICENCES = {"python-stdlib": "PSF-2.0", "shakespeare": "public domain"}
"""Of the corpora that come with the zoo."""

_OF_THIS_MACHINE = frozenset({"path"})
"""Options of a tokenizer that say where its file lies."""


def write_card(
    path: Path, directory: RunDirectory, run: Run, config: ZooConfig, *, place: str, ema: bool = False
) -> None:
    """Write README.md of an exported model.

    Args:
        path: of the file.
        directory: of the run.
        run: the same, loaded.
        config: of the export.
        place: what `from_pretrained` is given for it: a repository, or the name of a folder.
        ema: whether its weights are the average that the run kept.

    Raises:
        ZooError: it cannot be written.
    """
    summary = _summary_of(directory, run, ema=ema)
    trained_on, name = config.trained_on or {}, place.rpartition("/")[2]
    parts = [
        f"---\n{_head(name, summary, trained_on, config)}\n---\n\n# {name}\n",
        f"A causal language model of the mixer zoo with {count_parameters(run.model):,} parameters, after step "
        f"{run.step:,}.\n",
        f"```\n{run.settings.mixer}\n```\n",
        _loading(place, with_tokenizer=not isinstance(run.tokenizer, TokenIds)),
        f"## Figures\n\n{_table(('', 'value'), _figures(summary))}",
        f"## Made with\n\n{_table(('part', 'distribution', 'version'), _plugins(config, trained_on))}",
        f"## Data\n\n{_table(('', ''), _data(run.settings, trained_on))}",
        f"## Settings\n\nThose that differ from the defaults:\n\n```json\n{_settings(run.settings, trained_on)}\n```\n",
    ]
    write_atomically(path, "\n".join(parts))


def licence_of(settings: Settings) -> str:
    """The licence of the data of a run, as far as it is known."""
    call = corpus_call(settings.data) if settings.data else None
    return LICENCES.get(call.name.removeprefix("mixer-zoo:"), "unknown") if call else "unknown"


def _summary_of(directory: RunDirectory, run: Run, *, ema: bool) -> Summary | None:
    """The figures of what is exported; None where the run has none, or only those of another step."""
    summary = directory.summary
    if summary is None or summary.steps != run.step or not ema:
        return summary if summary is not None and summary.steps == run.step else None
    ratio = summary.ema_validation_loss / summary.validation_loss
    return replace(
        summary,
        validation_loss=summary.ema_validation_loss,
        validation_accuracy=summary.ema_validation_accuracy,
        bits_per_byte=summary.bits_per_byte * ratio,  # of the same text
    )


def _head(name: str, summary: Summary | None, trained_on: Mapping[str, Any], config: ZooConfig) -> str:
    """The metadata that the hub reads, in YAML. The licence of the model is for its owner to choose."""
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="text",
            dataset_name=f"{trained_on.get('data') or 'unknown'} (validation)",
            metric_type=metric,
            metric_value=round(value, 6),
        )
        for metric, value in _measured(summary)
    ]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["mixer-zoo", *(plugin for plugin in (config.plugins or {}) if ":" not in plugin)],
        model_name=name,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _measured(summary: Summary | None) -> Iterator[tuple[str, float]]:
    if summary is not None:
        named = (("loss", summary.validation_loss), ("bits_per_byte", summary.bits_per_byte))
        yield from ((metric, value) for metric, value in named if math.isfinite(value))


_WITH_TOKENIZER = """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{place}")
tokenizer = AutoTokenizer.from_pretrained("{place}")
prompt = tokenizer("\\n", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=100, do_sample=True)[0]))"""

_WITHOUT_TOKENIZER = """import torch
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("{place}")
print(model.generate(torch.tensor([[12, 7]]), max_new_tokens=100, do_sample=True)[0])  # it came without a tokenizer"""


def _loading(place: str, *, with_tokenizer: bool) -> str:
    code = (_WITH_TOKENIZER if with_tokenizer else _WITHOUT_TOKENIZER).format(place=place)
    return f"""## Load

```python
# pip install zoo-transformers
import zoo_transformers
{code}
```

Without the import, pass `trust_remote_code=True`; the package has to be installed all the same. The model has no
special tokens, and takes no padded prompts.
"""


def _figures(summary: Summary | None) -> Iterator[tuple[str, ...]]:
    if summary is None:
        yield "evaluation", "none at this step"
        return
    yield "validation loss", f"{summary.validation_loss:.4f} {summary.unit}"
    if math.isfinite(summary.bits_per_byte):
        yield "bits per byte", f"{summary.bits_per_byte:.4f}"
    yield "training loss", f"{summary.train_loss:.4f} {summary.unit}"
    yield "validation accuracy", f"{summary.validation_accuracy:.1%}"
    yield "training time", f"{summary.seconds:,.0f} s"


def _plugins(config: ZooConfig, trained_on: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for part, record in (config.plugins or {}).items():
        yield f"`{part}`", record["distribution"], record["version"]
    yield "the zoo", "mixer-zoo", str(trained_on.get("zoo", ""))


def _data(settings: Settings, trained_on: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield "name", f"`{trained_on.get('data') or 'unknown'}`"
    yield "sha256", f"`{trained_on.get('data_sha256') or 'unknown'}`"
    yield "tokenizer", f"`{settings.tokenizer_call.name}`"
    yield "licence of the data", licence_of(settings)


def _settings(settings: Settings, trained_on: Mapping[str, Any]) -> str:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    plain = {name: value for name, value in settings.model_dump().items() if value != defaults[name]}
    tokenizer = settings.tokenizer_call
    kept = tuple((name, value) for name, value in tokenizer.options if name not in _OF_THIS_MACHINE)
    plain |= {"data": trained_on.get("data", ""), "tokenizer": str(replace(tokenizer, options=kept))}
    return json.dumps(plain, indent=2, ensure_ascii=False)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"
