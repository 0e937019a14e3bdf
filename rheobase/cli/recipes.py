"""The papers' experiments on the command line: `rheobase recipes`, and `rheobase train RECIPE --set ...`."""

import ast
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rheobase.cli.repeating import repeated, taken
from rheobase.cli.screen import WIDE
from rheobase.names import choose
from rheobase.recipes import RECIPES, Recipe
from rheobase.recipes.recipe import NOT_READ
from rheobase.training import Experiment, rule_text
from rheobase.training.choice import read_call, written_call


def show_recipes(name: Annotated[str | None, tyro.conf.Positional] = None) -> int:
    """List the papers' experiments with what was published; with a NAME, all settings of that one.

    Args:
        name: of a recipe, or the beginning of several names.
    """
    console = Console(highlight=False, width=WIDE)
    if name in RECIPES:
        show_one(console, RECIPES[name])
        return 0
    found = [recipe for recipe in RECIPES.values() if recipe.name.startswith(name or "")]
    if not found:
        choose("recipe", name or "", RECIPES)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("recipe", "data", "model", "rule", "T", "published %", "where that was read"):
        table.add_column(column)
    for recipe in found:
        experiment = recipe.make()
        table.add_row(
            f"[cyan]{recipe.name}[/]", read_call(experiment.data)[0], read_call(experiment.model)[0],
            escape(short(experiment)), str(read_call(experiment.data)[1].get("steps", "")),
            *(("", "") if recipe.published == NOT_READ else (recipe.published, recipe.source)),
        )  # fmt: skip
    console.print(table)
    return 0


def show_one(console: Console, recipe: Recipe) -> None:
    console.print(f"[bold]{recipe.name}[/]: {escape(recipe.summary)}")
    console.print(f"paper: {recipe.paper}; published: {recipe.published} ({recipe.source})")
    if recipe.departs:
        console.print(f"departs from it: {escape(recipe.departs)}")
    for name, value in recipe.make().settings().items():
        console.print(f"  {name:<14} {escape(str(value))}")


def short(experiment: Experiment) -> str:
    """The rule without the options that concern only its scale."""
    name, options = read_call(rule_text(experiment.rule))
    shown = {option: value for option, value in options.items() if option != "scale"}
    return written_call(name, shown) + (", each step" if experiment.update == "step" else "")


def starting_point(arguments: Sequence[str]) -> tuple[Experiment, list[str]]:
    """The experiment that the flags of `train` change, and the arguments without recipe, --from and --set.

    arguments: after the word train: a recipe's name or none, then flags, among them `--from RUN` and `--set FIELD=VALUE
        ...`. With a recipe or a run, --steps and --limit replace its own.
    """
    run, left = taken(arguments, "--from")
    recipe = left.pop(0) if left and not left[0].startswith("-") else None
    if run is not None and recipe is not None:
        raise ValueError(f"Start from the recipe {recipe!r} or --from {run}, not from both.")
    experiment = Experiment()
    if recipe is not None:
        experiment = choose("recipe", recipe, RECIPES).make()
    if run is not None:
        experiment, left = repeated(Path(run), left)
    experiment, left = with_settings(experiment, left)
    return with_short_flags(experiment, left) if recipe or run else (experiment, left)


def with_settings(experiment: Experiment, left: list[str]) -> tuple[Experiment, list[str]]:
    """The experiment changed by each --set FIELD=VALUE ..., and the arguments without them."""
    while "--set" in left:
        start = left.index("--set")
        end = next((i for i in range(start + 1, len(left)) if left[i].startswith("--")), len(left))
        if end == start + 1:
            raise ValueError("--set expects FIELD=VALUE, such as rule=ottt, epochs=3 or data.steps=6.")
        for text in left[start + 1 : end]:
            experiment = changed(experiment, text)
        left = left[:start] + left[end:]
    return experiment, left


def with_short_flags(experiment: Experiment, left: list[str]) -> tuple[Experiment, list[str]]:
    """--steps and --limit written into the experiment's data, whose own options they replace."""
    for option in ("steps", "limit"):
        value, without = taken(left, f"--{option}")
        if value is not None and value.isdigit() and taken(left, "--data")[0] is None:
            experiment, left = changed(experiment, f"data.{option}={value}"), without
    return experiment, left


def changed(experiment: Experiment, setting: str) -> Experiment:
    """The experiment with one field, "epochs=3", or one option of a field's text, "data.steps=6", changed."""
    target, equals, value = setting.partition("=")
    field, dot, option = target.partition(".")
    known = {each.name: each for each in fields(Experiment)}
    choose("setting", field, known)
    if not equals:
        raise ValueError(f"--set expects FIELD=VALUE, got {setting!r}.")
    if not dot:
        text = known[field].type in (str, "str") or field in ("neuron", "rule", "weights")
        return with_field(experiment, field, value if text and value.lower() != "none" else read_value(value))
    own = getattr(experiment, field)
    if not isinstance(own, str):
        raise ValueError(f"{field} has no options: write --set {field}=VALUE.")
    name, options = read_call(own)
    return with_field(experiment, field, written_call(name, options | {option: read_value(value)}))


def with_field(experiment: Experiment, field: str, value: object) -> Experiment:
    return Experiment.of_settings(experiment.settings() | {field: value})


def read_value(text: str) -> object:
    """A Python literal, or true, false and none in any letter case; else the text itself."""
    word = {"true": True, "false": False, "none": None}
    if text.lower() in word:
        return word[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
