"""What a run is made of: every setting, with its default, its range and what it means."""

import math
import re
import types
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from zoo.data.documents import Documents
from zoo.data.objective import DEFAULT_OBJECTIVE, Objective, canonical_objective, read_objective
from zoo.errors import UsageError
from zoo.plugin.options import did_you_mean
from zoo.plugin.pattern import Call, Layer, Pattern, parse, parse_call
from zoo.train.curriculum import Curriculum, canonical_curriculum

OF_ADAMW = ("beta1", "beta2")
"""Settings of earlier versions that are options of the optimizer now."""


def seconds(value: Any) -> Any:
    """A duration in seconds; also written ``90s``, ``2m`` or ``1.5h``."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", value.strip())
    if not match:
        raise ValueError("a time, e.g. 90s, 2m or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


Size = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0), BeforeValidator(seconds)]
# Infinite where there is no limit, which JSON and TOML files write as null and "none".
Limit = Annotated[
    float,
    Field(gt=0, allow_inf_nan=True),
    BeforeValidator(lambda value: math.inf if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None),
]


class Settings(BaseModel):
    """All settings of a training run. Frozen; unknown ones and wrong types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    mixer: str = Field("correlation", description="pattern of token mixers")
    channel_mixer: str = Field("swiglu", description="for the layers whose pattern names none: swiglu, mlp, none")
    residual: str = Field("pre-norm", description="how the parts share the stream, e.g. hyper-connections(streams=2)")
    layers: Size | None = Field(4, description="the pattern is cycled to so many layers; none takes it once")
    dim: Size = Field(128, description="width of the residual stream")
    heads: Size = Field(4, description="for the mixers that set none")
    context: Size = Field(128, description="tokens in a training sequence")
    positions: Literal["none", "learned"] = Field("none", description="added to the embedding")
    tie_embeddings: bool = Field(True, description="the unembedding is the embedding, or a matrix of its own")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability, on the embedding and on every write")

    data: str = Field("python-stdlib", description="python-stdlib, shakespeare, a path, mix(PATH=…), or a task")
    text_field: str = Field("text", description="of .jsonl and .parquet, where the text is")
    tokenizer: str = Field("byte", description="of a text: byte, char, bpe(vocab_size=…), or a tokenizer.json")
    documents: Documents = Field("joined", description="files of a text: joined, or separate documents, packed")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="of a text its end, or of its documents")
    objective: Annotated[str, AfterValidator(canonical_objective)] = Field(
        DEFAULT_OBJECTIVE, description="of a text: next-token, masked, or masked(rate=…)"
    )

    curriculum: Annotated[str | None, BeforeValidator(canonical_curriculum)] = Field(
        None, description="lengths of training: '8..64 over 2000' (steps), '1..40' (drawn), '3..40..160 over 9000'"
    )
    segment: Size | None = Field(
        None, description="tokens after which a gradient ends while states go on; none for whole sequences"
    )
    batch: Size = Field(16, description="sequences in a micro-batch")
    accumulate: Size = Field(1, description="micro-batches in a step")
    steps: Size = Field(1000, description="updates of the parameters")
    lr: float = Field(1e-3, gt=0, description="highest learning rate")
    lr_final: float = Field(0.1, ge=0, le=1, description="last learning rate, as a fraction of the highest")
    warmup: int = Field(100, ge=0, description="steps of linear warm-up; then as the schedule says")
    schedule: Literal["cosine", "wsd", "constant"] = Field(
        "cosine", description="falls as a cosine, or stays (wsd: until the decay), so that a run can be prolonged"
    )
    decay: float = Field(0.2, gt=0, le=1, description="with wsd, the fraction of the steps in which the rate falls")
    weight_decay: float = Field(0.1, ge=0, description="on matrices only")
    optimizer: str = Field("adamw", description="adamw, lion, muon or sgd, with options: adamw(beta2=0.99)")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of an average of the weights, evaluated beside them, e.g. 0.999"
    )
    clip: Limit = Field(1.0, description="largest norm of the gradient; none for any")
    seed: int = Field(0, ge=0, lt=2**31, description="of the parameters, the batches and the dropout")

    engine: Literal["auto", "single", "ddp", "fsdp"] = Field(
        "auto", description="of many processes: ddp (also auto), a model each, or fsdp, a part of it each"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto takes what pays on this machine")
    compile: bool | Literal["auto"] = Field("auto", description="torch.compile the model; auto: where a long run gains")
    threads: int | None = Field(None, ge=1, le=4096, description="of the CPU; none takes every core")
    activation_checkpointing: bool = Field(False, description="less memory, more time")
    stop_accuracy: float | None = Field(
        None, gt=0, le=1, description="stop when the validation accuracy reaches it, e.g. 0.99"
    )
    max_time: Seconds | None = Field(None, description="stop training after so long, e.g. 90s, 2m, 1h")

    log_every: Size = Field(10, description="steps between lines of metrics.jsonl")
    evaluate_every: Size = Field(250, description="steps between evaluations")
    evaluation_tokens: Size = Field(65536, description="of the validation data, in each evaluation but the last")
    final_evaluation_tokens: Size | None = Field(None, description="in the last evaluation; none takes all")
    sample_tokens: int = Field(256, ge=0, description="of text sampled at each evaluation; 0 for no sample")
    checkpoint_every: Size = Field(250, description="steps between checkpoints")
    checkpoints: Literal["gathered", "sharded"] = Field(
        "gathered", description="of engine=fsdp: written by one process, or by each of them its own part"
    )
    keep_checkpoints: Size = Field(2, description="older ones are removed")

    # What the texts say; they are parsed nowhere else, and saved as they were written. Nothing is cached, since
    # `model_copy` would take it along to settings with another text.

    @property
    def pattern(self) -> Pattern:
        """The mixer; `PatternError` if it cannot be read, as of all of these."""
        return parse(self.mixer)

    @property
    def layer_calls(self) -> tuple[Layer, ...]:
        """The layers from the bottom up, each with the channel mixer that it has."""
        default = parse_call(self.channel_mixer)
        return tuple(replace(layer, channel=layer.channel or default) for layer in self.pattern.layers(self.layers))

    @property
    def channel_mixer_call(self) -> Call:
        """The channel mixer of the layers whose pattern names none."""
        return parse_call(self.channel_mixer)

    @property
    def residual_call(self) -> Call:
        """The residual scheme."""
        return parse_call(self.residual)

    @property
    def tokenizer_call(self) -> Call:
        """The tokenizer, of a text."""
        from zoo.data.tokenize import tokenizer_call

        return tokenizer_call(self.tokenizer)

    @property
    def optimizer_call(self) -> Call:
        """The optimizer."""
        return parse_call(self.optimizer)

    @property
    def lengths(self) -> Curriculum | None:
        """How long the sequences of each step are; None where all have the context."""
        return None if self.curriculum is None else Curriculum.read(self.curriculum)

    def tokens(self, steps: int) -> int:
        """How many tokens the first steps train on."""
        lengths = self.lengths
        per_step = self.batch * self.accumulate
        return per_step * (steps * self.context if lengths is None else lengths.tokens(steps, self.seed))

    @property
    def text_objective(self) -> Objective:
        """What is learned from a text; a task has targets of its own."""
        return read_objective(self.objective)


def validate(values: Mapping[str, Any]) -> Settings:
    """Settings from plain values; the first thing that is wrong is reported in one line.

    The text ``none`` is no value, except for a setting that takes text, of which it may be the value. Settings of an
    earlier version are read as what they became.
    """
    values = modernize(values)
    for name in values:
        if name not in Settings.model_fields:
            known = Settings.model_fields
            raise UsageError(f"there is no setting {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
    plain: dict[str, Any] = {name: None if _means_nothing(name, value) else value for name, value in values.items()}
    try:
        return Settings(**plain)
    except ValidationError as error:
        first = error.errors()[0]
        if isinstance(cause := first.get("ctx", {}).get("error"), UsageError):
            raise cause from None
        reason = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        name = str(first["loc"][0])
        raise UsageError(f"{name}={values[name]!r} should be {reason}") from None


def modernize(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that may be of an earlier version, in which AdamW's averages were settings, as they are written now.

    Raises:
        UsageError: they name another optimizer beside.
    """
    betas = {name: values[name] for name in OF_ADAMW if name in values}
    rest = {name: value for name, value in values.items() if name not in betas}
    if not betas:
        return rest
    call = parse_call(str(rest.get("optimizer", Settings.model_fields["optimizer"].default)))
    if call.name != "adamw":
        raise UsageError(f"{', '.join(betas)}: options of adamw, and the optimizer is {call}: leave them out")
    return rest | {"optimizer": str(Call("adamw", tuple((call.keywords | betas).items())))}


def _means_nothing(name: str, value: Any) -> bool:
    """Whether it is ``none``, which a command line and TOML can only write as text, for a setting without that text."""
    if value != "none":
        return False
    annotation = Settings.model_fields[name].annotation
    kinds = get_args(annotation) if get_origin(annotation) is types.UnionType else (annotation,)
    return not any(kind is str or "none" in get_args(kind) for kind in kinds)
