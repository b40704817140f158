"""`python -m srkit_perceptual NAME` prints where a recipe's run file is, for `srkit train --run`."""

import argparse
from pathlib import Path

RECIPES = {path.stem: path for path in sorted(Path(__file__).with_name("recipes").glob("*.toml"))}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m srkit_perceptual", description=__doc__)
    parser.add_argument("recipe", choices=RECIPES)
    print(RECIPES[parser.parse_args().recipe])


if __name__ == "__main__":
    main()
