"""Tasks of files and folders are found without the network, and what is wrong with them is one line."""

import json

import pytest
from zoo_lm_eval import evaluate_run
from zoo_lm_eval.evaluation import _quiet
from zoo_lm_eval.tasks import load_tasks, split_tasks

import zoo


def load(*parts):
    with _quiet():
        return load_tasks(split_tasks(",".join(map(str, parts))))


def refused(message, *parts):
    with pytest.raises(zoo.UsageError, match=message) as caught:
        load(*parts)
    assert "\n" not in str(caught.value)


def test_a_file_a_folder_and_a_group(choices, rolling, tmp_path):
    text = rolling("text", "the fox")
    assert list(load(text)["tasks"]) == ["text"]
    assert sorted(load(tmp_path)["tasks"]) == ["choices", "text"]
    group = tmp_path / "both.yaml"
    group.write_text(json.dumps({"group": "both", "task": ["choices", "text"]}))
    found = load(group)
    assert (sorted(found["tasks"]), list(found["groups"])) == (["choices", "text"], ["both"])
    refused("the tasks overlap: Duplicate task 'choices'", group, choices)


def test_a_task_is_named_once(choices, tmp_path):
    refused("the task .*choices.yaml is given twice: leave one of them out, or rename it", choices, choices)
    other = tmp_path / "other.yaml"
    other.write_bytes(choices.read_bytes())
    refused("the task choices is given twice", choices, other)
    refused("the task choices is given twice", tmp_path)


@pytest.mark.parametrize("text", ["", ",", "a,,b"])
def test_no_task_at_all(text):
    with pytest.raises(zoo.UsageError, match=r"should be names of tasks, YAML files or folders of them, separated by"):
        split_tasks(text)


def test_a_file_that_is_not_there(tmp_path):
    refused(r"there is no file or folder .*nope.yaml with tasks", tmp_path / "nope.yaml")
    refused(r"there is no task in the folder", tmp_path)


def test_files_that_are_no_task(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("task: [unclosed\n")
    refused(r"the task file .*broken.yaml cannot be read: while parsing", broken)
    refused(r"the task file .*broken.yaml cannot be read", tmp_path)
    broken.write_text("dataset_path: json\n")
    refused(r"broken.yaml is no task: it has neither a `task` nor a `group`", broken)


def test_data_that_is_not_there(choices, tmp_path):
    (tmp_path / "choices.jsonl").unlink()
    refused(
        r"the data of the task .* is not there: .*choices.jsonl'; paths in data_files start from the working", choices
    )


def test_data_of_the_network_when_there_is_none(tmp_path):
    path = tmp_path / "far.yaml"
    path.write_text(json.dumps({"task": "far", "dataset_path": "nobody/nothing", "test_split": "test"}))
    refused(r"the data of the task .*far.yaml is not on this machine and cannot be downloaded .*HF_HUB_OFFLINE=0", path)


def test_a_task_that_the_harness_refuses(write_task):
    path = write_task("wrong", [{"q": "x"}], output_type="multiple_choise", doc_to_text="{{q}}", doc_to_target="a")
    refused(r"the task .*wrong.yaml cannot be loaded: ", path)


@pytest.mark.slow
def test_a_misspelt_name():
    refused(r"there is no task 'hellaswg' \(did you mean 'hellaswag'\?\); `lm_eval ls tasks` lists those", "hellaswg")


@pytest.mark.slow
def test_a_metric_that_the_harness_does_not_know(write_task):
    options = {"output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": ["a", "b"]}
    path = write_task("wrong", [{"q": "x"}], **options, doc_to_target="a", metric_list=[{"metric": "akk"}])
    refused(r"the task .*wrong.yaml has a metric that the harness does not know, or one without", path)


def test_a_task_that_fails_after_it_was_loaded(make_run, write_task):
    run, _ = make_run()
    options = {"output_type": "loglikelihood", "doc_to_text": "{{q['a']}}", "doc_to_target": "{{q['a']['b']}}"}
    path = write_task("wrong", [{"q": {"a": {"b": "x"}}}, {"q": {"a": None}}], **options)
    with pytest.raises(zoo.UsageError, match="a task cannot be evaluated: UndefinedError: ") as caught:
        evaluate_run(run, [str(path)])
    assert "\n" not in str(caught.value)


def test_an_error_of_the_model_is_not_one_of_the_task(make_run, choices, monkeypatch):
    run, _ = make_run()

    def fail(*_args, **_options):
        raise RuntimeError("in the model")

    monkeypatch.setattr("zoo_lm_eval.model.measure", fail)
    with pytest.raises(RuntimeError, match="in the model"):
        evaluate_run(run, [str(choices)])


def test_values_out_of_range(make_run, choices):
    run, _ = make_run()
    for options, message in (
        ({"limit": 0}, "`limit`=0 should be 1 or more"),
        ({"shots": -1}, "`shots`=-1 should be 0"),
    ):
        with pytest.raises(zoo.UsageError, match=message):
            evaluate_run(run, [str(choices)], **options)


def test_tasks_that_are_not_for_text(make_run, choices):
    run, _ = make_run()
    choices.write_text(json.dumps(json.loads(choices.read_text()) | {"unsafe_code": True}))
    with pytest.raises(zoo.UsageError, match="the task choices runs code that the model writes: the zoo runs none"):
        evaluate_run(run, [str(choices)])


def test_multiple_choice_prefers_what_the_run_finds_likelier(make_run, choices):
    run, _ = make_run()
    found = evaluate_run(run, [str(choices)])
    from zoo_lm_eval import Zoo

    from .test_model import ask

    correct = 0
    for question in ("the", "a lazy", "in its"):
        asked = ask("loglikelihood", *((question, f" {choice}") for choice in ("fox", "dog sees", "cat")))
        likelihoods = [likelihood for likelihood, _ in Zoo(run).loglikelihood(asked)]
        correct += max(likelihoods) == likelihoods[1]
    assert found["results"]["choices"]["acc,none"] == pytest.approx(correct / 3)
    assert found["n-samples"]["choices"] == {"original": 3, "effective": 3}


def test_examples_are_limited_and_shown(make_run, choices):
    run, _ = make_run()
    found = evaluate_run(run, str(choices), limit=2, shots=1)
    assert (found["n-samples"]["choices"]["effective"], found["n-shot"]["choices"], found["limit"]) == (2, 1, 2)
    assert evaluate_run(run, str(choices), limit=2, shots=1) == found


def test_generated_text_is_compared(make_run, write_task):
    run, _ = make_run(tokenizer="char")
    first, second = ("".join(run.generate(prompt, tokens=5, temperature=0)) for prompt in ("the fox", "a cat"))
    wrong = "q" + second[1:]
    options = {"output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}"}
    options["generation_kwargs"] = {"until": ["never there"], "max_gen_toks": 5}
    documents = [{"q": "the fox", "a": first}, {"q": "a cat", "a": wrong}]
    path = write_task("made", documents, **options, metric_list=[{"metric": "exact_match"}])
    assert evaluate_run(run, [str(path)])["results"]["made"]["exact_match,none"] == (1 + (second == wrong)) / 2
