"""Folders as `train`, `compare`, `audit` and the benchmarks leave them, with known figures."""

import json
import struct
import zlib

from rheobase.training import Experiment

MADE = {
    "command": ["rheobase", "train", "--data", "digits(steps=4)"], "date": "2026-03-04T05:06:07+00:00",
    "commit": "0123456789abcdef", "device": "cpu (x86_64)", "threads": 1,
    "versions": {"rheobase": "0.1.0", "torch": "2.0"},
}  # fmt: skip


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def epoch(number, *, loss=1.0, train=0.5, validation=0.5, skipped=0, rates=None, ailments=None):
    return {
        "epoch": number, "loss": loss, "train_score": train, "validation_score": validation, "learning_rate": 1e-3,
        "seconds": 2.0, "samples_per_second": 100.0, "skipped": skipped, "peak_memory": 2**20,
        "firing_rates": {"2": 0.25} if rates is None else rates, "ailments": ailments or {},
    }  # fmt: skip


def run(folder, epochs=None, result=None, metric="accuracy", **changes):
    """A run; `changes` of its settings."""
    if epochs is None:
        epochs = [epoch(i, loss=1 / i, train=0.2 * i, validation=v) for i, v in enumerate((0.3, 0.9, 0.8), 1)]
    settings = Experiment(rule="sltt", epochs=5).settings() | changes
    parts = dict.fromkeys(("train", "validation", "test"), metric)
    write(folder / "config.json", {"experiment": settings, "metrics": parts, **MADE})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in epochs))
    if result is not None:
        write(folder / "result.json", result)
    return folder


DONE = {"state": "done", "metric": "accuracy", "best_epoch": 2, "validation_score": 0.9, "test_score": 0.875}


def rule(name, scores, *, kept=1000, seconds=4.0, cosines=(0.5, 0.25)):
    runs = [
        {
            "seed": seed, "test_score": score, "validation_score": 0.9, "best_epoch": 1, "seconds": seconds,
            "agreement_before": {"cosine": cosines[0], "norm_ratio": 1.0, "of_parameters": {"1.weight": cosines[0]}},
            "agreement_after": {"cosine": cosines[1], "norm_ratio": 1.0, "of_parameters": {"1.weight": cosines[1]}},
            "epochs": [epoch(1, validation=0.5), epoch(2, validation=0.75)],
        }
        for seed, score in enumerate(scores)
    ]  # fmt: skip
    return {"rule": name, "kept_bytes": kept, "peak_bytes": 3 * kept, "runs": runs}


def comparison(folder, rules, metric="accuracy"):
    shared = {name: value for name, value in Experiment().settings().items() if name not in ("rule", "seed")}
    metrics = dict.fromkeys(("train", "validation", "test"), metric)
    write(folder / "results.json", {**MADE, "metrics": metrics, "experiment": shared, "rules": rules})
    return folder


def audited(name, cosine, state="aligned", told="", layers=(0.5, None), exact="bptt"):
    total = {
        "cosine": cosine, "spread": 0.1, "norm_ratio": 1.0, "bias": 0.1, "bias_by_chance": 0.1, "noise": 1.0,
        "exact_noise": 1.0, "share": 1.0,
    }  # fmt: skip
    like = {"cosine": 1.0, "norm_ratio": 1.0, "error": 0.125}
    paths = {"each": {path: {"lost": like} for path in ("reset", "normalisation", "time")}, "rest": like}
    verdict = {"rule": name, "state": state, "causes": [], "text": f"{state}: {cosine:.2f}{told}"}
    of_layers = {layer: total | {"cosine": value} for layer, value in zip(("a", "b"), layers, strict=True)}
    return {
        "rule": name, "exact": exact, "total": total, "of_layers": of_layers, "of_parameters": {}, "paths": paths,
        "paths_of_layers": {}, "one_step": 1.0, "refusal": None, "verdict": verdict,
    }  # fmt: skip


def refused(name, reason):
    verdict = {"rule": name, "state": "refused", "causes": [], "text": f"refused: {reason}"}
    return {
        "rule": name,
        "exact": "",
        "total": None,
        "of_layers": {},
        "paths": None,
        "refusal": reason,
        "verdict": verdict,
    }


def moment(title, number, rules, findings=()):
    neurons = [{"name": "n", "kind": "LIF", "rate": 0.2, "sloped": 0.5, "decay": 0.5, "ailment": None}]
    told = [{"kind": "dead", "layer": "n", "text": text} for text in findings]
    layers = {"a": "Linear", "b": "Conv2d"}
    return {
        "title": title, "epoch": number, "findings": told, "layers": layers, "neurons": neurons, "batches": 4,
        "draws": 4, "rules": rules,
    }  # fmt: skip


def audit(folder, moments):
    write(folder / "audit.json", {**MADE, "experiment": Experiment().settings(), "moments": moments})
    return folder


def timed(library, case, median, *, steps=4, allocator="default", group=0, net="vgg"):
    return {
        "net": net, "steps": steps, "batch": 8, "library": library, "case": case, "allocator": allocator,
        "group": group, "status": "ok", "median": median,
    }  # fmt: skip


def held(library, case, kept, *, steps=4, net="vgg"):
    return {
        "net": net, "steps": steps, "batch": 8, "library": library, "case": case, "status": "ok", "kept": kept,
        "peak": 2 * kept,
    }  # fmt: skip


def bench(folder, times, memory, name="results.json", **changes):
    told = {
        "commit": "0123456789abcdef", "dirty": False, "date": MADE["date"], "versions": MADE["versions"],
        "quick": False, "machine": {"cpu": "a processor", "gpu": None}, "device": "cpu", "threads": 2,
        "repeats": 5, "warmup": 1,
    }  # fmt: skip
    write(folder / name, {**told, **changes, "times": times, "memory": memory})
    return folder


def png(width=2, height=2):
    """A small picture."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + b"\xff\0\0" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
