"""Whatever a configuration says, it is understood or refused with a reason; nothing in it is run."""

import json
from dataclasses import fields

import pytest
from fuzz.cases import damaged, json_texts, outcome, tries, values
from hypothesis import example, given
from hypothesis import strategies as st

from rheobase.cli.recipes import changed
from rheobase.training import Experiment, rule_named
from rheobase.training.choice import read_call, written_call
from rheobase.training.evaluate import read_experiment

FIELDS = [field.name for field in fields(Experiment)]
CALLS = [
    "digits(steps=4, limit=100)", "mlp(hidden=[64, 32])", "lif(decay=0.9, surrogate=atan(alpha=2))", "sltt(steps=2)",
    "stllr(post_decay=0.2)", "bptt(objective='each_step')", "ottt", "cross_entropy", "vgg(width=1e400)",
    "mlp(hidden=[-1])", "digits(steps=99999999999999999999)", "lif(decay=nan)", "lif(surrogate=triangle(width=[1]))",
    "sltt(steps=True)", "__import__('os')", "bptt(chunk=().__class__)", "mlp(hidden=" + "[" * 300 + "]" * 300 + ")",
]  # fmt: skip
PIECES = st.sampled_from([
    *"()[]{}=,.'\"-+*:@#\\\n\0é ", "1e999", "10**10**10", "lambda: 0", "steps", "hidden", "decay", "None", "nan", "1_0",
    "f'{1}'", "b''", "sltt", "mlp", "x:=1", "**a", "*a", "0x", "1j", "9" * 5000, "-" * 3000, "(" * 250, "not " * 3000,
])  # fmt: skip
texts = st.sampled_from(CALLS) | st.lists(st.sampled_from(CALLS) | PIECES, max_size=8).map("".join) | st.text()


@st.composite
def damaged_calls(draw):
    return draw(damaged(draw(st.sampled_from(CALLS)).encode())).decode("utf8", "replace")


@tries(700)
@given(texts | damaged_calls())
@example("f(a=" + "-" * 100_000 + "1)")
@example("f(a=" + "(" * 100_000 + ")")
@example("f(a=" + "9" * 100_000 + ")")
@example("f(a='\ud800')")
def test_a_text_that_chooses_is_read_or_refused(text):
    found, fault = outcome(read_call, text)
    if found is None:
        assert "write name or name(option=value, ...)" in fault
    else:
        assert read_call(written_call(*found))[0] == found[0]


@tries(500)
@given(texts | damaged_calls())
def test_a_text_that_chooses_a_rule_gives_one_or_is_refused(text):
    rule, fault = outcome(rule_named, text)
    assert fault or callable(rule.backward)


@tries(600)
@given(
    st.dictionaries(st.sampled_from(FIELDS), values() | texts | damaged_calls(), max_size=5)
    | st.dictionaries(st.text(max_size=10) | st.sampled_from(FIELDS), values(), max_size=5)
)
@example({"data": "digits(split=1)"})
@example({"learning_rate": 10**400})
@example({"seed": 2**70})
@example({"optimizer": []})
@example({"learning_rate": float("nan")})
@example({"momentum": float("nan"), "optimizer": "sgd"})
def test_settings_make_an_experiment_or_are_refused(settings):
    experiment, fault = outcome(Experiment.of_settings, settings)
    assert fault or Experiment.of_settings(experiment.settings()) == experiment


@tries(300)
@given(json_texts())
def test_a_text_of_json_makes_an_experiment_or_is_refused(text):
    experiment, fault = outcome(Experiment.from_json, text)
    assert fault or Experiment.from_json(experiment.to_json()) == experiment


@tries(300)
@given(
    json_texts().map(lambda text: text.encode("utf8", "surrogatepass"))
    | st.binary(max_size=60)
    | damaged(json.dumps({"experiment": Experiment().settings()}).encode())
    | st.fixed_dictionaries({"experiment": values()}).map(lambda found: json.dumps(found).encode())
)
def test_a_runs_configuration_is_read_or_refused_by_name(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    (folder / "config.json").write_bytes(content)
    experiment, fault = outcome(read_experiment, folder)
    assert fault or isinstance(experiment, Experiment)


@tries(300)
@given(
    st.sampled_from([*FIELDS, *(f"{field}.steps" for field in FIELDS), "", ".", "a.b"]) | st.text(max_size=6),
    st.sampled_from(["=", "", "=="]),
    texts | damaged_calls() | values().map(repr),
)
def test_a_setting_on_the_command_line_changes_the_experiment_or_is_refused(field, equals, value):
    experiment, fault = outcome(changed, Experiment(), f"{field}{equals}{value}")
    assert fault or isinstance(experiment, Experiment)


@pytest.mark.parametrize("place", ["rule", "model", "neuron", "data", "loss"])
def test_code_in_a_configuration_is_never_run(tmp_path, place):
    canary = tmp_path / "canary"
    code = f"__import__('os').mkdir({str(canary)!r})"
    for text in (
        code,
        f"bptt(chunk={code})",
        f"mlp(hidden=[{code}])",
        f"lif(surrogate={code})",
        f"digits(root={code})",
    ):
        for read in (read_call, rule_named, lambda text: Experiment.of_settings({place: text})):
            outcome(read, text)
    assert not canary.exists()
