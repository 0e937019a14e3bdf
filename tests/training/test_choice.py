import pytest

from rheobase.rules import BPTT, RULES, SLTT
from rheobase.training.choice import chosen, options_of, read_call
from rheobase.training.experiment import rule_named, rule_text


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("sltt", "sltt", {}),
        (" sltt ( ) ", "sltt", {}),
        ("s-tllr(last=4, acausal=-0.2)", "s-tllr", {"last": 4, "acausal": -0.2}),
        ("mlp(hidden=[256, 128])", "mlp", {"hidden": [256, 128]}),
        ("lif(surrogate=triangle(width=0.5))", "lif", {"surrogate": "triangle(width=0.5)"}),
        ("lif(surrogate=atan, detach_reset=true)", "lif", {"surrogate": "atan", "detach_reset": True}),
    ],
)
def test_text_is_read_as_a_name_and_its_options(text, name, options):
    assert read_call(text) == (name, options)


@pytest.mark.parametrize(
    "text", ["", "sltt(2)", "sltt(steps=2", "sltt(steps=2)+f()", "sltt(**x)", "a.b", "sltt(steps=8//4)", "f()()"]
)
def test_text_that_is_no_name_with_options_is_refused(text):
    with pytest.raises(ValueError, match="name\\(option=value"):
        read_call(text)


def test_nothing_in_the_text_is_run(tmp_path):
    mark = tmp_path / "mark"
    with pytest.raises(ValueError, match=r"Cannot read|expects"):
        rule_named(f"sltt(steps=open({str(mark)!r}, 'w'))")
    assert not mark.exists()


def test_an_unknown_rule_is_answered_with_near_ones():
    with pytest.raises(ValueError, match="'sltt'"):
        rule_named("slt")


def test_an_unknown_option_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'steps'.*Known: .*scale"):
        rule_named("sltt(stepz=2)")


@pytest.mark.parametrize("text", ["sltt(steps='two')", "sltt(steps=2.5)", "sltt(steps=true)", "bptt(objective=best)"])
def test_a_value_of_the_wrong_type_is_refused(text):
    with pytest.raises(ValueError, match="expects"):
        rule_named(text)


def test_an_option_that_must_be_given_is_asked_for():
    with pytest.raises(ValueError, match=r"truncated-bptt\(horizon=value\)"):
        rule_named("truncated-bptt")


def test_functions_are_no_options():
    def make(size: int, norm: "type[int]" = int) -> None: ...

    assert set(options_of(make)) == {"size", "norm"}
    name, options = chosen("maker", "make(size=3)", {"make": make})
    assert (name, options) == (make, {"size": 3})


@pytest.mark.parametrize("rule", [BPTT(), BPTT(checkpoint=True), SLTT(steps=3), SLTT(scale="paper", chunk=2)])
def test_a_rule_is_the_rule_of_its_text(rule):
    assert rule_named(rule_text(rule)) == rule


def test_every_rule_without_required_options_can_be_named_alone():
    for name, kind in RULES.items():
        if name != "truncated-bptt":
            assert rule_named(name) == kind()
