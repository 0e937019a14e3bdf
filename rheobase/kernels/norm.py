"""Batch normalisation in as few passes over memory as it takes, per step, in either memory order."""

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rheobase.kernels.compiler import compiled_code

_HEAD = """
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
typedef {real} real;
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define LANES 16
#define ROWS 64
#define SAMPLES 9

/* Values lie as [outer, channels, inner]; inner is 1 for channels-last tensors and for rows. A few values are summed in
   their own precision, such sums in double, in an order that only the number of threads decides. */
"""

# Sums over all but channels of two terms, given x[i] and its channel c.
_SUMS = """
static void {name}(int64_t outer, int64_t channels, int64_t inner, int threads, const real* x, const real* error,
                   const real* slope, const real* origin, double* first, double* second) {{
    const int64_t all = threads * channels;
    double* sums = calloc(2 * all, sizeof(double));
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (int p = 0; p < threads; p++) {{
        double *one = sums + p * channels, *two = one + all;
        const int64_t end = outer * (p + 1) / threads;
        if (inner == 1) {{
            for (int64_t from = outer * p / threads; from < end; from += ROWS) {{
                const int64_t to = MIN(from + ROWS, end);
                for (int64_t tile = 0; tile < channels; tile += LANES) {{
                    real a[LANES] = {{0}}, b[LANES] = {{0}};
                    if (tile + LANES <= channels) {{
                        for (int64_t row = from; row < to; row++)
                            #pragma omp simd
                            for (int k = 0; k < LANES; k++) {{
                                const int64_t i = row * channels + tile + k, c = tile + k;
                                a[k] += {first};
                                b[k] += {second};
                            }}
                    }} else {{
                        for (int64_t row = from; row < to; row++)
                            for (int k = 0; k < channels - tile; k++) {{
                                const int64_t i = row * channels + tile + k, c = tile + k;
                                a[k] += {first};
                                b[k] += {second};
                            }}
                    }}
                    for (int k = 0; k < MIN(LANES, channels - tile); k++) one[tile + k] += a[k], two[tile + k] += b[k];
                }}
            }}
        }} else for (int64_t n = outer * p / threads; n < end; n++) for (int64_t c = 0; c < channels; c++) {{
            const int64_t start = (n * channels + c) * inner;
            for (int64_t from = start; from < start + inner; from += LANES * ROWS) {{
                real a = 0, b = 0;
                #pragma omp simd reduction(+ : a, b)
                for (int64_t i = from; i < MIN(from + LANES * ROWS, start + inner); i++) {{
                    a += {first};
                    b += {second};
                }}
                one[c] += a;
                two[c] += b;
            }}
        }}
    }}
    for (int64_t c = 0; c < channels; c++) {{
        first[c] = second[c] = 0;
        for (int p = 0; p < threads; p++) first[c] += sums[p * channels + c], second[c] += sums[all + p * channels + c];
    }}
    free(sums);
}}
"""

_MOMENTS = """
/* The median of values that lie at steps of the golden ratio, which meet no period: near the mean, whatever a few
   values are. */
static void origins(int64_t outer, int64_t channels, int64_t inner, const real* x, real* origin) {
    real* sample = malloc(SAMPLES * channels * sizeof(real));
    for (int s = 0; s < SAMPLES; s++) {
        const double at = (s + 1) * 0.6180339887498949;
        const int64_t i = (int64_t)((at - (int)at) * outer * inner);
        for (int64_t c = 0; c < channels; c++)
            sample[s * channels + c] = x[(i / inner * channels + c) * inner + i % inner];
    }
    for (int last = SAMPLES - 1; last >= SAMPLES / 2; last--) for (int s = 0; s < last; s++) {
        real *low = sample + s * channels, *high = low + channels;
        #pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            const real a = low[c], b = high[c];
            low[c] = MIN(a, b);
            high[c] = a < b ? b : a;
        }
    }
    memcpy(origin, sample + SAMPLES / 2 * channels, channels * sizeof(real));
    free(sample);
}

void moments(int64_t outer, int64_t channels, int64_t inner, int threads, const real* x, double* mean,
             double* variance) {
    real* origin = malloc(channels * sizeof(real));
    origins(outer, channels, inner, x, origin);
    deviations(outer, channels, inner, threads, x, NULL, NULL, origin, mean, variance);
    for (int64_t c = 0; c < channels; c++) {
        const double lag = mean[c] / ((double)outer * inner);
        mean[c] = origin[c] + lag;
        variance[c] = variance[c] / ((double)outer * inner) - lag * lag;
        if (variance[c] < 0) variance[c] = 0;
    }
    free(origin);
}
"""

# What is done to each value, given x[i] and its channel c.
_EACH = """
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < outer; row++) {{
        if (inner == 1) {{
            #pragma omp simd
            for (int64_t c = 0; c < channels; c++) {{
                const int64_t i = row * channels + c;
                {each}
            }}
        }} else for (int64_t c = 0; c < channels; c++) {{
            const int64_t from = (row * channels + c) * inner;
            #pragma omp simd
            for (int64_t i = from; i < from + inner; i++) {{ {each} }}
        }}
    }}
"""

_APPLY = """
void {name}(int64_t outer, int64_t channels, int64_t inner, int threads, const real* x, const real* scale,
            const real* shift, real* restrict y{more}) {{
    {each}
}}
"""

_BACK = """
void {name}(int64_t outer, int64_t channels, int64_t inner, int threads, const real* x, const real* error,
            const real* slope, const double* mean, const double* inverse, const real* scale, double* total,
            double* product, real* restrict below) {{
    const double count = (double)outer * inner;
    double* sums = malloc(2 * channels * sizeof(double));
    real* center = malloc(3 * channels * sizeof(real));
    real *lean = center + channels, *level = center + 2 * channels;
    for (int64_t c = 0; c < channels; c++) center[c] = (real)mean[c];
    {name}_sums(outer, channels, inner, threads, x, error, slope, center, sums, sums + channels);
    for (int64_t c = 0; c < channels; c++) {{
        const double a = sums[c], b = sums[channels + c];
        total[c] += a;
        product[c] += b * inverse[c];
        lean[c] = (real)(-scale[c] * b * inverse[c] * inverse[c] / count);
        level[c] = (real)(-scale[c] * a / count);
    }}
    {each}
    free(sums);
    free(center);
}}
"""


def _source(real: str) -> str:
    parts = [
        _HEAD.format(real=real),
        _SUMS.format(name="deviations", first="x[i] - origin[c]", second="(x[i] - origin[c]) * (x[i] - origin[c])"),
        _MOMENTS,
    ]
    apply = "y[i] = x[i] * scale[c] + shift[c];"
    for name, more, observe in (
        ("apply", "", ""),
        ("observe", ", const real* unit, real* restrict sum", "sum[i] += x[i] * unit[c];"),
    ):
        parts.append(_APPLY.format(name=name, more=more, each=_EACH.format(each=f"{apply} {observe}")))
    for name, error in (("back", "error[i]"), ("back_fired", "(error[i] * slope[i])")):
        parts.append(_SUMS.format(name=f"{name}_sums", first=error, second=f"{error} * (x[i] - origin[c])"))
        below = f"below[i] = scale[c] * {error} + lean[c] * (x[i] - center[c]) + level[c];"
        parts.append(_BACK.format(name=name, each=_EACH.format(each=below)))
    return "".join(parts)


_REALS = {torch.float32: "float", torch.float64: "double"}
_SERIAL = 1 << 14  # values below which more threads cost more than they bring


@cache
def _code(dtype: torch.dtype) -> ctypes.CDLL | None:
    found = compiled_code(_source(_REALS[dtype]))
    for name, pointers in {"moments": 3, "apply": 4, "observe": 6, "back": 9, "back_fired": 9}.items():
        if found is not None:
            function = getattr(found, name)
            function.argtypes = [*[ctypes.c_int64] * 3, ctypes.c_int, *[ctypes.c_void_p] * pointers]
            function.restype = None
    return found


def knows(x: Tensor) -> bool:
    """Whether these kernels can work on x `[N, C, ...]`."""
    return x.dtype in _REALS and x.device.type == "cpu" and x.dim() > 1 and x.numel() > 0 and _code(x.dtype) is not None


def in_order(x: Tensor) -> Tensor:
    """x without gaps in memory."""
    if x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)):
        return x
    return x.contiguous()


def ordered_as(x: Tensor, step: Tensor) -> Tensor:
    """x `[c * N, ...]`, its samples in the memory order of those of `step` `[N, ...]`, which has no gaps."""
    if x.stride()[1:] == step.stride()[1:]:
        return x
    return torch.empty_strided(x.shape, step.stride(), dtype=x.dtype, device=x.device).copy_(x)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of x `[N, C, ...]`, `[C]` in double precision."""
    mean, variance = torch.empty(2, x.shape[1], dtype=torch.float64)
    _call("moments", x, x, mean, variance)
    return mean, variance


def applied(x: Tensor, scale: Tensor, shift: Tensor, y: Tensor) -> None:
    """y = scale * x + shift, per channel; y laid out as x."""
    _call("apply", x, x, scale, shift, y)


def observed(x: Tensor, scale: Tensor, shift: Tensor, y: Tensor, unit: Tensor, total: Tensor) -> None:
    """As `applied`, and total += unit * x."""
    _call("observe", x, x, scale, shift, y, unit, total)


def back(
    x: Tensor,
    error: Tensor,
    slope: Tensor | None,
    mean: Tensor,
    inverse: Tensor,
    scale: Tensor,
    totals: tuple[Tensor, Tensor],
    below: Tensor,
) -> None:
    """The gradient `below` at x of what has the gradient `error * slope` at scale * (x - mean) * inverse + shift.

    totals: the gradients of the shift and of (scale / inverse) are added to these, `[C]` in double precision.
    """
    name = "back" if slope is None else "back_fired"
    _call(name, x, x, error, error if slope is None else slope, mean, inverse, scale, *totals, below)


def _call(name: str, form: Tensor, *tensors: Tensor) -> None:
    channels = form.shape[1]
    inner = form[0, 0].numel() if form.is_contiguous() else 1
    outer = form.numel() // (channels * inner)
    threads = torch.get_num_threads() if form.numel() > _SERIAL else 1
    code: Any = _code(form.dtype)
    getattr(code, name)(outer, channels, inner, threads, *[tensor.data_ptr() for tensor in tensors])
