"""The order that page.js gives to rows, run by node where there is one."""

import json
import shutil
import subprocess

import pytest

from rheobase.report.page import source

NODE = shutil.which("node") or shutil.which("nodejs")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

PAGE = "globalThis.document = { querySelectorAll: () => [] }; globalThis.window = { addEventListener() {} };"


def in_order(values, down):
    code = f"{PAGE}\n{source('page.js')}\nconst v = {json.dumps(values)};"
    code += f"console.log(JSON.stringify(v.sort((a, b) => order(a, b, {json.dumps(down)}))));"
    return json.loads(subprocess.run([NODE, "-"], input=code, capture_output=True, text=True, check=True).stdout)


def test_numbers_are_ordered_by_value_and_what_is_missing_stays_last():
    assert in_order([10, 9, "", -3, 100], False) == [-3, 9, 10, 100, ""]
    assert in_order([10, 9, "", -3, 100], True) == [100, 10, 9, -3, ""]


def test_text_is_ordered_by_letters_and_the_numbers_within():
    assert in_order(["layer10", "Layer2", "a", ""], False) == ["a", "Layer2", "layer10", ""]
    assert in_order(["a", "c", "", "b"], True) == ["c", "b", "a", ""]


def test_equals_stay_in_their_order():
    assert in_order([2, "", 1, ""], True) == [2, 1, "", ""]
