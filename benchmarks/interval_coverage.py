"""How often the interval of `srkit bench --intervals` holds the true mean, by the number of pictures.

python benchmarks/interval_coverage.py [--repeats 2000]

Pictures are drawn from a population like the PSNR of B100: a gamma distribution, mean 31.6 dB, deviation 3.9 dB, skewed
to the right. An interval that keeps its promise holds the mean in 95 of 100 draws.
"""

import argparse

import numpy as np

from srkit.evaluate.statistics import interval

SHAPE, WIDTH, FLOOR = 6.0, 1.6, 22.0


def coverage(images: int, repeats: int, seed: int = 0) -> float:
    """The share of draws of so many pictures whose interval holds the population's mean."""
    draws = np.random.default_rng([seed, images]).gamma(SHAPE, WIDTH, (repeats, images)) + FLOOR
    found = [interval(draw.tolist()) for draw in draws]
    truth = SHAPE * WIDTH + FLOOR
    return sum(one.low is not None and one.low <= truth <= (one.high or 0.0) for one in found) / repeats


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    for images in (5, 8, 14, 30, 100):
        print(f"{images:>4} pictures: {coverage(images, repeats):.1%}")
