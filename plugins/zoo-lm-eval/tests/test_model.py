"""What the harness is given is what plain torch makes of the checkpoint."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from zoo_lm_eval import Zoo, evaluate_run

import zoo
from zoo.train.evaluate import evaluate

from .conftest import some_text


def ask(kind, *arguments):
    return [Instance(kind, {}, argument, index, ("mine", index, 1)) for index, argument in enumerate(arguments)]


def log_likelihood(model, tokens, first):
    """Of the tokens from `first` on, and whether each is the likeliest."""
    with torch.no_grad():
        logits = model(torch.as_tensor(tokens[:-1])[None]).logits[0, first - 1 :]
    targets = torch.as_tensor(tokens[first:])
    return -float(F.cross_entropy(logits, targets, reduction="sum")), bool((logits.argmax(-1) == targets).all())


def windows_by_hand(model, tokens, context):
    """The mean cross-entropy of every token but the first, in windows side by side."""
    nats = [
        log_likelihood(model, tokens[start : start + context + 1], 1)[0] for start in range(0, len(tokens) - 1, context)
    ]
    return -sum(nats) / (len(tokens) - 1)


@pytest.mark.parametrize("mixer", ["dot-product", "correlation, involution"])
@pytest.mark.parametrize("tokenizer", ["byte", "char"])
def test_bits_per_byte_of_a_local_task_are_those_of_the_run(make_run, rolling, mixer, tokenizer):
    run, data = make_run(mixer, tokenizer=tokenizer)
    text = data.tokenizer.decode(data.validation.tolist())
    found = evaluate_run(run, str(rolling("whole", text)))["results"]["whole"]["bits_per_byte,none"]
    tokens = data.validation.astype(np.int64)
    by_hand = windows_by_hand(run.model, tokens, run.settings.context) * len(tokens) / math.log(2) / len(text.encode())
    assert found == pytest.approx(by_hand, abs=1e-4)
    assert found == pytest.approx(zoo.evaluate(run).bits_per_byte, abs=1e-4)


def test_bits_per_byte_of_separate_documents_are_those_of_the_run(make_run, rolling):
    run, data = make_run(documents="separate")
    data = zoo.load_data(str(run.path.parent / "text"), tokenizer="byte", documents="separate", validation_fraction=0.5)
    text = data.tokenizer.decode(data.validation.tolist())
    assert "\0" in text
    found = evaluate_run(run, str(rolling("whole", text)))["results"]["whole"]["bits_per_byte,none"]
    score = evaluate(run.model, data.validation_batches(context=32, batch=4), precision="fp32")
    assert found == pytest.approx(data.bits_per_byte(score.loss), abs=1e-4)


def test_the_first_token_of_a_text_counts_as_the_mean_of_the_others(make_run):
    run, _ = make_run()
    one, empty, two = Zoo(run).loglikelihood_rolling(ask("loglikelihood_rolling", ("t",), ("",), ("th",)))
    assert one == pytest.approx(-math.log(256))
    assert empty == 0
    assert two == pytest.approx(2 * log_likelihood(run.model, list(b"th"), 1)[0], abs=1e-4)


def test_a_continuation_is_scored_after_its_context(make_run):
    run, _ = make_run()
    pairs = [("the quick ", "brown"), ("a", " lazy dog"), ("the ", "x"), ("", "the fox"), ("naïve", "")]
    found = Zoo(run).loglikelihood(ask("loglikelihood", *pairs))
    for (context, continuation), (likelihood, greedy) in zip(pairs[:3], found[:3], strict=True):
        tokens = list((context + continuation).encode())
        expected = log_likelihood(run.model, tokens, len(context.encode()))
        assert (likelihood, greedy) == (pytest.approx(expected[0], abs=1e-3), expected[1])
    assert found[3][0] == pytest.approx(log_likelihood(run.model, list(b"\nthe fox"), 1)[0], abs=1e-3)
    assert found[4] == (0, True)


def test_the_greedy_continuation_is_recognized(make_run):
    run, _ = make_run(tokenizer="char")
    greedy = "".join(run.generate("the ", tokens=6, temperature=0))
    other = ("x" if greedy[0] != "x" else "q") + greedy[1:]
    found = Zoo(run).loglikelihood(ask("loglikelihood", ("the ", greedy), ("the ", other)))
    assert [is_greedy for _, is_greedy in found] == [True, False]


class Merging(zoo.Tokenizer):
    """Bytes, but for one token that stands for a blank and the letter after it."""

    def __init__(self):
        super().__init__([b" f" if byte == 1 else bytes([byte]) for byte in range(256)])

    def encode(self, text):
        return np.frombuffer(text.encode().replace(b" f", b"\x01"), dtype=np.uint8)

    def to_json(self):
        return {}

    @classmethod
    def from_json(cls, saved):  # noqa: ARG003
        return cls()


def test_what_a_tokenizer_joins_across_the_border_is_predicted_whole(make_run):
    run, _ = make_run()
    ((likelihood, _),) = Zoo(dataclasses.replace(run, tokenizer=Merging())).loglikelihood(
        ask("loglikelihood", ("brown ", "fox"))
    )
    assert likelihood == pytest.approx(log_likelihood(run.model, list(b"brown\x01ox"), 5)[0], abs=1e-3)


def test_a_context_that_is_too_long_is_cut_from_the_left(make_run):
    run, _ = make_run(positions="learned")
    assert run.model.max_length == 32
    context = some_text(3)
    ((likelihood, _),) = Zoo(run).loglikelihood(ask("loglikelihood", (context, "fox")))
    tokens = list((context + "fox").encode())[-33:]
    assert likelihood == pytest.approx(log_likelihood(run.model, tokens, 30)[0], abs=1e-3)
    ((shorter, _),) = Zoo(run, context=8).loglikelihood(ask("loglikelihood", (context, "fox")))
    assert shorter == pytest.approx(log_likelihood(run.model, tokens[-9:], 6)[0], abs=1e-3)


def generated(model, prompt, **options):
    return model.generate_until(ask("generate_until", (prompt, options)))[0]


def test_text_is_generated_greedily_up_to_a_stop_string(make_run):
    run, _ = make_run(tokenizer="char")
    model = Zoo(run)
    whole = "".join(run.generate("the quick", tokens=20, temperature=0))
    assert generated(model, "the quick", max_gen_toks=20) == whole
    stop = whole[7:9]
    assert generated(model, "the quick", max_gen_toks=20, until=["never there", stop]) == whole[: whole.index(stop)]
    assert (
        generated(model, "the quick", max_gen_toks=20, until=stop, temperature=0.7, do_sample=False)
        == (whole[: whole.index(stop)])
    )
    assert generated(model, "", max_gen_toks=3) == "".join(run.generate("\n", tokens=3, temperature=0))


def test_what_is_sampled_depends_on_the_seed_and_on_the_request(make_run):
    run, _ = make_run()
    options = {"max_gen_toks": 24, "do_sample": True, "temperature": 2.0, "top_k": 0, "top_p": 0.99}
    asked = ask("generate_until", ("the", options), ("the", options))
    one, again, other = (Zoo(run, seed=seed).generate_until(asked) for seed in (1, 1, 5))
    assert one == again != other
    assert one[0] != one[1]


def test_generation_reads_as_much_of_the_prompt_as_leaves_room(make_run):
    run, _ = make_run(positions="learned")
    prompt = some_text(3)
    tokens = torch.tensor([list(prompt.encode())[-22:]])
    expected = zoo.generate(run.model, tokens, tokens=10, temperature=0)[0].tolist()
    assert generated(Zoo(run), prompt, max_gen_toks=10) == bytes(expected).decode(errors="replace")


def test_a_model_of_separate_documents_ends_with_its_document(make_run):
    run, _ = make_run(documents="separate")
    options = {"tokens": 64, "temperature": 50.0}
    drawn = ((seed, "".join(run.generate("the", **options, seed=seed))) for seed in range(100))
    seed, text = next((seed, text) for seed, text in drawn if "\0" in text)
    model = Zoo(run, seed=seed)
    assert generated(model, "the", max_gen_toks=64, do_sample=True, temperature=50.0) == text.partition("\0")[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 4}, "the task mine asks to generate with num_beams, which the zoo does not have"),
        ({"max_gen_toks": "many"}, "the generation_kwargs of the task mine cannot be read"),
        ({"max_gen_toks": 0}, "tokens=0 should be 1 or more"),
    ],
)
def test_ways_to_generate_that_are_refused(make_run, options, message):
    run, _ = make_run()
    with pytest.raises(zoo.UsageError, match=message):
        generated(Zoo(run), "the", **options)


def test_runs_that_cannot_be_evaluated(make_run):
    run, _ = make_run()
    masked = run.settings.model_copy(update={"objective": "masked"})
    with pytest.raises(zoo.UsageError, match="learned to fill in masked tokens: only runs that learned to continue"):
        Zoo(dataclasses.replace(run, settings=masked))
    with pytest.raises(zoo.UsageError, match=r"learned the task .* and not a text"):
        Zoo(dataclasses.replace(run, tokenizer=None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 33}, "`context`=33 should be from 1 to 32, the most that the model can read"),
        ({"context": 0}, "`context`=0 should be from 1 to 32"),
        ({"batch_size": 0}, "`batch_size`=0 should be 1 or more, or auto"),
        ({"batch_size": "many"}, "`batch_size`=many should be 1 or more, or auto"),
        ({"seed": 2**64}, "has more than 64 bits"),
    ],
)
def test_values_out_of_range(make_run, options, message):
    run, _ = make_run(positions="learned")
    with pytest.raises(zoo.UsageError, match=message):
        Zoo(run, **options)


@pytest.mark.parametrize("kind", ["loglikelihood", "loglikelihood_rolling", "generate_until"])
def test_a_character_that_the_tokenizer_does_not_know(make_run, kind):
    run, _ = make_run(tokenizer="char")
    arguments = {"loglikelihood": ("the", "€"), "loglikelihood_rolling": ("€",), "generate_until": ("€", {})}
    with pytest.raises(
        zoo.UsageError, match=r"^the task mine: the text has characters outside of the vocabulary: '\\u20ac'"
    ):
        getattr(Zoo(run), kind)(ask(kind, arguments[kind]))


def test_the_harness_knows_the_model_by_its_name(make_run):
    run, _ = make_run()
    assert get_model("zoo") is Zoo
    assert get_model("dummy").__name__ == "DummyLM"
    given = {"batch_size": "auto:4", "max_batch_size": None, "device": None}
    made = get_model("zoo").create_from_arg_string(f"run={run.path},seed=3,batch_size=2", given)
    assert (made.seed, made.get_model_info()["mixer"], made.tokenizer_name) == (3, "dot-product", "byte")
    if not torch.cuda.is_available():
        assert get_model("zoo").create_from_arg_obj({"run": run.path}, {"device": "cuda:0"}).device.type == "cpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("device=cpu", "the model zoo needs a run: run=runs/mine"),
        (
            "run=a,pretrained=b",
            "the model zoo has no argument 'pretrained': there are run, device, batch_size, context,",
        ),
        ("run=a,context=long", "`context`=long should be a whole number"),
        ("run=a,seed=x", "`seed`=x should be a whole number"),
    ],
)
def test_arguments_of_the_harness_that_are_refused(arguments, message):
    with pytest.raises(zoo.UsageError, match=message):
        Zoo.create_from_arg_string(arguments, {"batch_size": 1})
