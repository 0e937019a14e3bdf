"""What the conversions from all libraries have in common."""

import subprocess
import sys

import pytest

import rheobase.interop


def test_asking_for_a_conversion_imports_no_other_library() -> None:
    code = (
        "import sys, rheobase.interop as i; i.from_norse, i.from_snntorch, i.from_spikingjelly;"
        "print([m for m in ('spikingjelly', 'snntorch', 'norse', 'nir', 'onnx', 'torchvision') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_all_that_is_listed_is_there() -> None:
    for name in rheobase.interop.__all__:
        assert callable(getattr(rheobase.interop, name))
        assert name in dir(rheobase.interop)
    with pytest.raises(AttributeError, match=r"'rheobase.interop' has no attribute 'from_brian'"):
        _ = rheobase.interop.from_brian
