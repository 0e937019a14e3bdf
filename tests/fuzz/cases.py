"""What is tried on the readers: the same cases on every machine and in every run."""

import json
from pathlib import Path
from tempfile import gettempdir

from hypothesis import HealthCheck, configuration, settings
from hypothesis import strategies as st

configuration.set_hypothesis_home_dir(Path(gettempdir()) / "rheobase-hypothesis")


def tries(count):
    """As a decorator: `count` cases, drawn from the test's own name, nothing kept between runs, no time limit each."""
    return settings(
        max_examples=count, derandomize=True, database=None, deadline=None, print_blob=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def outcome(read, *arguments):
    """What `read` returns, and the text of the ValueError that it refuses with instead; any other error is a fault."""
    try:
        return read(*arguments), ""
    except ValueError as error:
        return None, str(error)


@st.composite
def damaged(draw, data):
    """`data` after one to four of: bits flipped, bytes overwritten, taken out, put in, doubled, or the end cut off."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(1, 16))
        kind = draw(st.sampled_from(["flip", "write", "remove", "insert", "double", "cut"]))
        if kind == "flip":
            data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))] if data else b"") + data[at + 1 :]
        elif kind == "write":
            noise = draw(st.sampled_from([b"\0", b"\xff", b"\x7f\xff"]) | st.binary(min_size=1, max_size=16))
            data = data[:at] + noise + data[at + len(noise) :]
        elif kind == "remove":
            data = data[:at] + data[at + length :]
        elif kind == "insert":
            data = data[:at] + draw(st.binary(min_size=1, max_size=16)) + data[at:]
        elif kind == "double":
            data = data[: at + length] + data[at:]
        else:
            data = data[:at]
    return data


def values():
    """Whatever JSON can say, as Python's reader gives it: NaN, huge numbers and nesting too."""
    plain = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
        | st.sampled_from([10**400, -1, 0, 2**63, 1e308, float("nan"), float("-inf"), "", "\0", "nan", "a" * 5000])
    )  # fmt: skip
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )  # fmt: skip


def json_texts():
    """Text that is JSON, damaged JSON, deeply nested or no JSON at all."""
    whole = values().map(json.dumps)
    deep = st.integers(1, 200_000).flatmap(lambda n: st.sampled_from(["[" * n, '{"a":' * n, "[" * n + "]" * n]))
    cut = st.tuples(whole, st.integers(0, 40)).map(lambda pair: pair[0][: pair[1]])
    return whole | cut | deep | st.text(max_size=60)
