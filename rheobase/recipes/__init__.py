"""The papers' experiments by name: data, model, rule and settings, and what was published.

Adding one: a function that returns its `Experiment`, a line in its paper's tuple.
"""

from rheobase.recipes.ottt import OTTT
from rheobase.recipes.rate_bp import RATE_BP
from rheobase.recipes.recipe import Recipe
from rheobase.recipes.sltt import SLTT
from rheobase.recipes.stllr import STLLR

RECIPES = {recipe.name: recipe for recipe in (*RATE_BP, *SLTT, *OTTT, *STLLR)}

__all__ = ["RECIPES", "Recipe"]
