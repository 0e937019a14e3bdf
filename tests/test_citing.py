"""`rb.cite`, `rheobase cite` and CITATION.cff."""

import re
from pathlib import Path

import pytest

import rheobase as rb
from rheobase.citing import PAPERS, entries
from rheobase.cli import main
from rheobase.rules import DirectFeedback, Traces

ROOT = Path(__file__).parent.parent
NEEDED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "misc": {"author", "title", "year", "eprint"},
    "software": {"author", "title", "version"},
}


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE)


def fields(entry: str) -> dict[str, str]:
    return {
        name: " ".join(value.split())
        for name, value in re.findall(r"^  (\w+) += \{(.*?)\}(?:,\n|\n\})", entry, re.M | re.S)
    }


@pytest.mark.parametrize("name", rb.RULES)
def test_a_rule_is_cited_alike_as_text_class_and_object(name: str) -> None:
    text = "truncated-bptt(horizon=2)" if name == "truncated-bptt" else name
    rule = rb.TruncatedBPTT(2) if name == "truncated-bptt" else rb.RULES[name]()
    assert rb.cite(text) == rb.cite(rb.RULES[name]) == rb.cite(rule)
    assert tuple(keys(rb.cite(rule))) == PAPERS[name]


def test_a_rule_of_one_s_own_has_no_paper_here_also_where_it_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(rb.SLTT):
        pass

    monkeypatch.setitem(rb.RULES, "own", Own)
    for rule in (Own(), "own"):
        with pytest.raises(ValueError, match="Own has no paper of its own"):
            rb.cite(rule)


def test_the_papers_of_chosen_options_are_cited_too() -> None:
    assert keys(rb.cite("sltt(steps=2)")) == keys(rb.cite("sltt"))
    assert set(keys(rb.cite(rb.BPTT(checkpoint=True)))) - set(keys(rb.cite("bptt"))) == {"chen2016training"}
    for signal, paper in (
        ("dfa", "nokland2016direct"),
        ("drtp", "frenkel2021learning"),
        (DirectFeedback("sign"), "nokland2016direct"),
    ):
        assert keys(rb.cite(rb.STLLR(signal=signal))) == [*PAPERS["s-tllr"], paper]


def test_every_entry_is_one_that_a_rule_needs_and_has_what_its_kind_must_have() -> None:
    cited = {key for papers in PAPERS.values() for key in papers}
    assert set(entries()) == cited | {"chen2016training", "nokland2016direct", "frenkel2021learning"}
    for key, entry in [*entries().items(), ("rheobase", rb.cite())]:
        found = fields(entry)
        kind = entry[1 : entry.index("{")]
        assert NEEDED[kind] <= found.keys(), key
        assert entry.count("{") == entry.count("}"), key
        assert all(found.values()), key
        if kind != "software":
            assert "doi" in found or "eprint" in found
            assert found["year"] in key
            first = found["author"].partition(",")[0].replace("{\\o}", "o").lower()
            assert key.startswith(first)


def test_arxiv_numbers_are_those_that_the_rules_own_docstrings_name() -> None:
    for rule in rb.RULES.values():
        for number in re.findall(r"arXiv (\d{4}\.\d{5})", rule.__doc__ or ""):
            assert fields(rb.cite(rule))["eprint"] == number


def test_a_rule_without_a_paper_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"Online has no paper of its own. Cite the rules whose parts it takes: bptt, ottt"
    ):
        rb.cite(rb.Online(Traces(decay_pre=0.5)))
    with pytest.raises(ValueError, match="Did you mean 'sltt'"):
        rb.cite("slt")


def test_the_command_prints_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite", "s-tllr(signal=dfa)"]) == 0
    assert capsys.readouterr().out == rb.cite("s-tllr(signal=dfa)") + "\n"
    assert main(["cite"]) == 0
    assert capsys.readouterr().out == rb.cite() + "\n"
    assert main(["cite", "slt"]) == 2


def test_the_citation_file_has_its_required_keys_and_says_what_the_entry_says() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    top = dict(re.findall(r"^([a-z-]+): *(.*)$", text, re.MULTILINE))
    assert top["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= top.keys()
    assert top["type"] == "software"
    assert top["version"] == rb.__version__
    entry = fields(rb.cite())
    assert top["title"].strip('"') == entry["title"]
    assert (
        top["license"]
        == entry["license"]
        == re.search(r'^license = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    )
    assert f'  - name: "{entry["author"].strip("{}")}"' in text
