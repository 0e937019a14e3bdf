"""Runs the benchmarks; `python -m benchmarks report FOLDER ...` writes the tables and plots of recorded results."""

import argparse
import sys
from pathlib import Path

import torch

from benchmarks.cases import CASES, chosen
from benchmarks.driver import Suite, run
from benchmarks.nets import NETS
from benchmarks.report import write_report
from rheobase.report import write_report as write_page

SETTINGS = {
    "default": ("default",),
    "keep": ("keep",),
    "both": ("default", "keep"),
    "all": ("default", "keep", "keep+huge"),
}


def run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--steps", nargs="+", type=int, metavar="T", help="instead of each net's own numbers of steps")
    parser.add_argument("--cases", nargs="+", metavar="PATTERN", help='shell patterns, e.g. "rheobase/*" "*/SLTT*"')
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of each case")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--allocator", choices=SETTINGS, default="both", help="on CUDA it is always the default one")
    parser.add_argument("--only", choices=("memory", "times"), help="one of the two measurements")
    parser.add_argument("--quick", action="store_true", help="tiny nets, to see that all works")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    return parser


def report_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description="Tables and plots from results.")
    parser.add_argument(
        "records",
        nargs="+",
        type=Path,
        help="folders with a results.json, or such files; of several, the last one that has a net and T counts",
    )
    parser.add_argument("--out", type=Path, help="the folder of the first by default")
    return parser


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["report"]:
        given = report_parser().parse_args(arguments[1:])
        records = [record if record.suffix == ".json" else record / "results.json" for record in given.records]
        write_report(records, given.out or records[0].parent)
        return
    parser = run_parser()
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join(case.key for case in CASES))
        return
    try:
        cases = chosen(given.cases)
    except ValueError as error:
        parser.error(str(error))
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no CUDA device here.")
    suite = Suite(
        nets=tuple(given.nets),
        cases=tuple(cases),
        allocators=SETTINGS["default" if given.device == "cuda" else given.allocator],
        steps=tuple(given.steps) if given.steps else None,
        repeats=given.repeats,
        warmup=given.warmup,
        threads=given.threads,
        device=given.device,
        quick=given.quick,
        memory=given.only != "times",
        times=given.only != "memory",
    )
    write_report([run(suite, given.out)], given.out)
    print(f"{given.out}/results.md, {write_page([given.out])}")


if __name__ == "__main__":
    main(sys.argv[1:])
