"""What the library set out to reach, and what was measured."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cases import JELLY, OURS, PLAIN, REFERENCES
from benchmarks.nets import NETS
from benchmarks.results import Place, Results

JELLY_MULTI = (f"{JELLY}/BPTT, multi-step",)
JELLY_MEMOPT = f"{JELLY}/BPTT, memopt memory"
PLAIN_SLTT = f"{PLAIN}/SLTT"
FORWARDS = (f"{OURS}/run", f"{PLAIN}/forward only")
EXACT = ("BPTT()", "BPTT(chunk=1)")
ONE_STEP = ("RateBP()", "SLTT()", "SLTT(steps=1)", "OTTT()", "STLLR()")
MLP_TIMES = (
    ("RateBP()", 0.50), ("SLTT()", 0.80), ("SLTT(chunk=auto)", 0.80), ("OTTT()", 0.90), ("OTTT(chunk=auto)", 0.90),
)  # fmt: skip
RESNET_TIMES = (("RateBP()", 0.55), ("SLTT(steps=1)", 0.60), ("SLTT()", 0.90), ("SLTT(chunk=auto)", 0.90))
FORWARD_UNDER = ("BPTT(chunk=1)", *ONE_STEP)


@dataclass(frozen=True)
class Target:
    """measured, limit: ratios; measured None where it was not. settings: the ratio under each allocator setting."""

    what: str
    limit: float
    measured: float | None
    settings: dict[str, float]

    @property
    def verdict(self) -> str:
        return "not measured" if self.measured is None else "met" if self.measured <= self.limit else "**missed**"


def targets(results: Results) -> Iterator[Target]:
    """Those of the networks that the results are about."""
    if "vgg" in results.nets:
        yield from vgg_times(results)
        yield from vgg_memory(results)
    yield from other_nets(results)


def time(
    results: Results, place: Place, case: str, limit: float, against: tuple[str, ...] = REFERENCES, name: str = ""
) -> Target:
    net, steps = place
    key, denominator = f"{OURS}/{case}", results.fastest(place, against)
    timing = results.times.get(place, {}).get(key)
    settings = {} if timing is None or denominator is None else timing.relative
    name = name or "SpikingJelly's fastest BPTT"
    each = {allocator: relative / denominator for allocator, relative in settings.items()} if denominator else {}
    return Target(f"{net}, T = {steps}: time of {case} / {name}", limit, results.ratio(place, key, against), each)


def memory(
    results: Results, place: Place, case: str, limit: float, against: tuple[str, ...], name: str, what: str = "kept"
) -> Target:
    net, steps = place
    mine = results.bytes(place, f"{OURS}/{case}", what)
    theirs = min((size for key in against if (size := results.bytes(place, key, what)) is not None), default=None)
    measured = mine / theirs if mine is not None and theirs else None
    return Target(
        f"{net}, T = {steps}: {'peak bytes of' if what == 'peak' else 'bytes kept by'} {case} / {name}",
        limit,
        measured,
        {},
    )


def ours(*cases: str) -> tuple[str, ...]:
    return tuple(f"{OURS}/{case}" for case in cases)


def vgg_times(results: Results) -> Iterator[Target]:
    for place, rate, one in ((("vgg", 8), 0.38, 0.36), (("vgg", 32), 0.34, 0.32)):
        yield time(results, place, "RateBP()", rate)
        yield time(results, place, "SLTT()", 0.60)
        yield time(results, place, "SLTT(steps=1)", one)
        yield time(results, place, "OTTT()", 1.10, ours("SLTT()"), "our SLTT")
        yield time(results, place, "STLLR(last=T/4)", 0.60)
        for case in EXACT:
            yield time(results, place, case, 0.85)
        yield time(results, place, "BPTT(checkpoint=True)", 1.2, ours(*EXACT), "our fastest BPTT")
        yield time(results, place, "BPTT(checkpoint=True)", 1.0, (JELLY_MEMOPT,), "SpikingJelly's memopt memory")
    for case in FORWARD_UNDER:
        yield time(results, ("vgg", 8), f"forward under {case}", 1.15, FORWARDS, "the fastest forward without autograd")


def vgg_memory(results: Results) -> Iterator[Target]:
    for steps in results.steps("vgg"):
        place = ("vgg", steps)
        yield memory(results, place, "RateBP()", 1.1, (PLAIN_SLTT,), "plain SLTT (one step)")
        yield memory(results, place, "SLTT()", 1.0, (PLAIN_SLTT,), "plain SLTT (one step)")
        yield memory(results, place, "SLTT(steps=1)", 1.0, (PLAIN_SLTT,), "plain SLTT (one step)")
        yield memory(results, place, "OTTT()", 1.1, ours("SLTT()"), "our SLTT")
        yield memory(results, place, "STLLR(last=T/4)", 2.0, ours("SLTT()"), "our SLTT")
        if all(results.bytes(place, key, "kept") is None for key in REFERENCES):
            continue
        for case in EXACT:
            yield memory(results, place, case, 0.5, REFERENCES, "SpikingJelly's leaner BPTT")
        for what in ("kept", "peak"):
            name = "SpikingJelly's memopt memory"
            yield memory(results, place, "BPTT(checkpoint=True)", 1.0, (JELLY_MEMOPT,), name, what)


def other_nets(results: Results) -> Iterator[Target]:
    if "mlp" in results.nets:
        for case, limit in MLP_TIMES:
            yield time(results, ("mlp", 100), case, limit, JELLY_MULTI, "SpikingJelly's multi-step BPTT")
    if "resnet18" in results.nets:
        for case, limit in RESNET_TIMES:
            yield time(results, ("resnet18", 4), case, limit)
    if "recurrent" in results.nets:
        yield time(results, ("recurrent", 100), "STLLR()", 1.3, ours("SLTT()"), "our SLTT")
        auto = ours("SLTT(chunk=auto)")
        yield time(results, ("recurrent", 100), "STLLR(chunk=auto)", 1.3, auto, "our SLTT(chunk=auto)")
    if "mlp" in results.nets:
        yield from mlp_memory(results)


def mlp_memory(results: Results) -> Iterator[Target]:
    for case in ONE_STEP:
        for what, name in (
            ("kept", "kept, returned outputs left out,"),
            ("peak", "at the peak, returned outputs included,"),
        ):
            long, short = (mlp_bytes(results, steps, case, what) for steps in (10000, 10))
            measured = long / short if long is not None and short else None
            yield Target(f"mlp: bytes {name} by {case}, T = 10 000 / T = 10", 1.05, measured, {})


def mlp_bytes(results: Results, steps: int, case: str, what: str) -> int | None:
    """The outputs `[T, N, classes]` that a rule returns grow with T by their nature: `kept` is given without them."""
    size = results.bytes(("mlp", steps), f"{OURS}/{case}", what)
    if size is None or what == "peak":
        return size
    return size - 4 * steps * results.batch["mlp", steps] * NETS["mlp"].classes
