"""The C code of one neuron kind, from the formulas of its dynamics."""

from collections.abc import Sequence
from dataclasses import dataclass

from rheobase.dual import Dual
from rheobase.kernels.symbols import Formula, Number, Symbol
from rheobase.neurons import Neuron

_HEAD = """
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
typedef {real} real;
#define BLOCK {block}
#define PARTS {parts}

/* To 2 ulp, in a form that compilers vectorise. */
static inline float exp_float(float x) {{
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    const float n = rintf(x * 1.44269504088896341f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union {{ int32_t i; float f; }} scale = {{ ((int32_t)n + 127) << 23 }};
    return p * scale.f;
}}
#define EXP {exp}
#define TANH tanh
#define FABS {fabs}
#define SQRT sqrt
"""

_FUNCTION = """
void {name}({arguments}) {{
    {constants}
    {before}
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t from = 0; from < size; from += BLOCK) {{
        const int64_t count = size - from < BLOCK ? size - from : BLOCK;
        {body}
    }}
    {after}
}}
"""

_STEPS = "int64_t steps, int64_t size, int threads, const double* c, const real* currents, real* const* before"


@dataclass(frozen=True)
class Source:
    """One file of C: `run`, `slope`, `respond`, `back`.

    constants: what the code takes from outside, so that neurons which differ in them alone share it.
    moving: which parts of the state change by amounts that differ between neurons when all currents rise by 1.
    binary: whether the output is 0 or 1.
    """

    text: str
    constants: tuple[float, ...]
    moving: tuple[bool, ...]
    binary: bool


def source(neuron: Neuron, parts: int, real: str) -> Source:
    """parts: tensors in the neuron's state; real: "float" or "double".

    Raises one of `NOT_ARITHMETIC` for dynamics that are more than pointwise arithmetic.
    """
    constants: list[float] = []
    moving = _moving(neuron, parts)
    bodies = [
        _run(neuron, parts, constants, slopes=False),
        _run(neuron, parts, constants, slopes=True),
        _respond(neuron, parts, constants, moving),
        _back(neuron, parts, constants),
    ]
    exp, fabs = ("exp_float", "fabsf") if real == "float" else ("exp", "fabs")
    head = _HEAD.format(real=real, block=256, parts=parts, exp=exp, fabs=fabs)
    names = "\n    ".join(f"const real k{i} = (real)c[{i}];" for i in range(len(constants)))
    text = head + "".join(body.replace("@CONSTANTS@", names) for body in bodies)
    return Source(text, tuple(constants), moving, _is_binary(neuron, parts))


def _dynamics(
    neuron: Neuron, formula: Formula, parts: int, current: Number, changes: Sequence[Number]
) -> tuple[list[Number], list[Number]]:
    """Values and changes of (spikes, *state) after one step whose current and state change as given."""
    state = tuple(Dual(formula.leaf(f"s{i}"), change) for i, change in enumerate(changes))  # type: ignore[arg-type]
    spikes, after = neuron.dynamics(Dual(formula.leaf("x"), current), state)  # type: ignore[arg-type]
    duals: list[Dual] = [spikes, *after]  # type: ignore[list-item]
    if len(after) != parts or not all(isinstance(d, Dual) and isinstance(d.value, Symbol) for d in duals):
        raise TypeError("A kernel needs spikes and a state that depend on the current and the state.")
    return [d.value for d in duals], [d.change for d in duals]  # type: ignore[misc]


def _is_binary(neuron: Neuron, parts: int) -> bool:
    formula = Formula([])
    values, _ = _dynamics(neuron, formula, parts, 0.0, [0.0] * parts)
    return any(
        line.startswith(f"const real {formula.name(values[0])} =") and line.endswith("? 1 : 0;")
        for line, _ in formula.lines
    )


def _moving(neuron: Neuron, parts: int) -> tuple[bool, ...]:
    """See `Source`: the fewest parts for which the changes of all others are the same for all neurons."""
    moving = [False] * parts
    while True:
        formula = Formula([])
        _, changes = _dynamics(neuron, formula, parts, 1.0, [formula.leaf(f"d{i}") for i in range(parts)])
        uniform = {f"d{i}" for i in range(parts) if not moving[i]}
        found = [not (isinstance(d, float) or d.depends <= uniform) for d in changes[1:]]
        if found == moving:
            return tuple(moving)
        moving = [a or b for a, b in zip(moving, found, strict=True)]


def _lines(formula: Formula, indent: int = 16) -> str:
    return ("\n" + " " * indent).join(line for line, _ in formula.lines)


def _function(name: str, arguments: str, body: str, before: str = "", after: str = "") -> str:
    return _FUNCTION.format(
        name=name, arguments=f"{_STEPS}, {arguments}", constants="@CONSTANTS@", before=before, body=body, after=after
    )


def _loads(parts: int, array: str = "state", name: str = "s") -> str:
    return " ".join(f"const real {name}{i} = {array}{i}[j];" for i in range(parts))


def _blocks(parts: range | list[int], array: str, source: str) -> str:
    """Local copies of a block of the state, which stay in the cache during all steps."""
    return " ".join(
        f"real {array}{i}[BLOCK]; memcpy({array}{i}, {source}[{i}] + from, count * sizeof(real));" for i in parts
    )


def _stores(parts: range | list[int], array: str, target: str) -> str:
    return " ".join(f"memcpy({target}[{i}] + from, {array}{i}, count * sizeof(real));" for i in parts)


def _run(neuron: Neuron, parts: int, constants: list[float], slopes: bool) -> str:
    formula = Formula(constants)
    values, changes = _dynamics(neuron, formula, parts, 1.0 if slopes else 0.0, [0.0] * parts)
    slope = f"slope[j] = {formula.name(changes[0])};" if slopes else ""
    updates = " ".join(f"state{i}[j] = {formula.name(value)};" for i, value in enumerate(values[1:]))
    body = f"""{_blocks(range(parts), "state", "before")}
        for (int64_t t = 0; t < steps; t++) {{
            const real* restrict current = currents + t * size + from;
            real* restrict spike = spikes + t * size + from;
            {"real* restrict slope = slopes + t * size + from;" if slopes else ""}
            #pragma omp simd
            for (int64_t j = 0; j < count; j++) {{
                const real x = current[j]; {_loads(parts)}
                {_lines(formula)}
                spike[j] = {formula.name(values[0])}; {slope} {updates}
            }}
        }}
        {_stores(range(parts), "state", "after")}"""
    arguments = "real* const* after, real* spikes" + (", real* slopes" if slopes else "")
    return _function("slope" if slopes else "run", arguments, body)


def _respond(neuron: Neuron, parts: int, constants: list[float], moving: tuple[bool, ...]) -> str:
    formula = Formula(constants)
    values, changes = _dynamics(neuron, formula, parts, 1.0, [formula.leaf(f"d{i}") for i in range(parts)])
    own = [i for i in range(parts) if moving[i]]
    shared = [i for i in range(parts) if not moving[i]]
    updates = [f"state{i}[j] = {formula.name(value)};" for i, value in enumerate(values[1:])]
    updates += [f"change{i}[j] = {formula.name(changes[1 + i])};" for i in own]
    loads = [f"const real d{i} = change{i}[j];" for i in own]
    uniform = {f"d{i}" for i in shared}
    scalar = " ".join(line for line, depends in formula.lines if depends <= uniform)
    known = " ".join(f"const real d{i} = shared[t * PARTS + {i}];" for i in shared)
    following = " ".join(f"shared[(t + 1) * PARTS + {i}] = {formula.name(changes[1 + i])};" for i in shared)
    before = f"""real* shared = malloc((steps + 1) * PARTS * sizeof(real));
    for (int i = 0; i < PARTS; i++) shared[i] = (real)uniform[i];
    for (int64_t t = 0; t < steps; t++) {{ {known} {scalar} {following} }}"""
    after = "for (int i = 0; i < PARTS; i++) uniform[i] = shared[steps * PARTS + i]; free(shared);"
    body = f"""{_blocks(range(parts), "state", "before")} {_blocks(own, "change", "moved")}
        real* restrict rate = rates + from;
        real* restrict gain = gains + from;
        for (int64_t t = 0; t < steps; t++) {{
            const real* restrict current = currents + t * size + from;
            real* restrict spike = spikes + t * size + from;
            {known}
            #pragma omp simd
            for (int64_t j = 0; j < count; j++) {{
                const real x = current[j]; {_loads(parts)} {" ".join(loads)}
                {_lines(formula)}
                spike[j] = {formula.name(values[0])}; {" ".join(updates)}
                rate[j] += {formula.name(values[0])};
                gain[j] += {formula.name(changes[0])};
            }}
        }}
        {_stores(range(parts), "state", "after")} {_stores(own, "change", "moved")}"""
    arguments = "real* const* after, real* spikes, real* const* moved, double* uniform, real* rates, real* gains"
    return _function("respond", arguments, body, before, after)


def _back(neuron: Neuron, parts: int, constants: list[float]) -> str:
    forward = Formula(constants)
    values, _ = _dynamics(neuron, forward, parts, 0.0, [0.0] * parts)
    updates = " ".join(f"state{i}[(t + 1) * BLOCK + j] = {forward.name(value)};" for i, value in enumerate(values[1:]))
    formula = Formula(constants)
    through_current = _dynamics(neuron, formula, parts, 1.0, [0.0] * parts)[1]
    through_state = [
        _dynamics(neuron, formula, parts, 0.0, [float(i == j) for j in range(parts)])[1] for i in range(parts)
    ]
    incoming = ["g", *(f"a{i}" for i in range(parts))]

    def product(changes: list[Number]) -> str:
        terms = [
            f"{gradient} * {formula.name(change)}"
            for gradient, change in zip(incoming, changes, strict=True)
            if isinstance(change, Symbol) or change != 0
        ]
        return " + ".join(terms) or "0"

    scratch = " ".join(f"real* state{i} = scratch + {i} * (steps + 1) * BLOCK;" for i in range(parts))
    starts = " ".join(f"memcpy(state{i}, before[{i}] + from, count * sizeof(real));" for i in range(parts))
    body = f"""real* scratch = malloc(PARTS * (steps + 1) * BLOCK * sizeof(real));
        {scratch} {starts}
        for (int64_t t = 0; t + 1 < steps; t++) {{
            const real* restrict current = currents + t * size + from;
            #pragma omp simd
            for (int64_t j = 0; j < count; j++) {{
                const real x = current[j]; {_loads(parts).replace("[j]", "[t * BLOCK + j]")}
                {_lines(forward)}
                {updates}
            }}
        }}
        {_blocks(range(parts), "grad", "grads")}
        for (int64_t t = steps - 1; t >= 0; t--) {{
            const real* restrict current = currents + t * size + from;
            const real* restrict error = errors + t * size + from;
            real* restrict below = belows + t * size + from;
            #pragma omp simd
            for (int64_t j = 0; j < count; j++) {{
                const real x = current[j], g = error[j]; {_loads(parts).replace("[j]", "[t * BLOCK + j]")}
                {_loads(parts, "grad", "a")}
                {_lines(formula)}
                below[j] = {product(through_current)};
                {" ".join(f"grad{i}[j] = {product(through_state[i])};" for i in range(parts))}
            }}
        }}
        {_stores(range(parts), "grad", "grads")}
        free(scratch);"""
    return _function("back", "const real* errors, real* const* grads, real* belows", body)
