"""Runs one tutorial, smaller, as the main program: python running.py SCRIPT '{"sizes": {...}, "wanted": [...]}'

The last line of the output is JSON: the values that the tutorial's names have at its end.
"""

import ast
import json
import sys
from pathlib import Path


def shrunk(source: str, sizes: dict[str, object]) -> ast.Module:
    """The program with other numbers assigned to the names in `sizes`, each assigned to once at the top level."""
    tree, left = ast.parse(source), dict(sizes)
    for statement in tree.body:
        if not isinstance(statement, ast.Assign):
            continue
        (target,) = statement.targets
        several = isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple)
        pairs = zip(target.elts, statement.value.elts, strict=True) if several else []
        for name, value in [(target, statement.value), *pairs]:
            if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and name.id in left:
                value.value = left.pop(name.id)
    if left:
        raise ValueError(f"The tutorial assigns no number to {', '.join(left)}.")
    return tree


if __name__ == "__main__":
    script, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    sys.argv[1:] = []
    space: dict[str, object] = {"__name__": "__main__", "__file__": str(script)}
    exec(compile(shrunk(script.read_text(), settings["sizes"]), str(script), "exec"), space)
    print(json.dumps({name: space[name] for name in settings["wanted"]}))
