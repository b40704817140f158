"""Do the recipes `realistic` and `photo`, lists of degradations, make LR as the augmentations of the same names do?

    python benchmarks/degradation_likeness.py --draws 400

Of one patch of a sample picture, LR is made many times by either. Six statistics of it are compared by the two-sample
Kolmogorov-Smirnov test: the p value is printed for each. Where both are one distribution it is uniform in [0, 1]. The
augmentation draws for each picture alone (`share = 1`), as the list does.
"""

import argparse
from pathlib import Path

import torch
from scipy.stats import ks_2samp
from torch import Tensor

from srkit import Batch, imresize, load_plugins, read_rgb
from srkit.run import Run, read_run_file
from srkit.train.parts import built_degrader

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "plugins/srkit_builtin/samples/coffee.png"
RECIPES = {"photo": {}, "realistic": {"share": 1}}
SIDE, TOP, LEFT = 32, 60, 100  # of the LR patch; where it is, in HR pixels


def statistics(made: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """Of each LR in B,3,h,w, beside the clean one."""
    error = made - clean
    steps = (made[..., 1:] - made[..., :-1]).abs().mean((1, 2, 3))
    blocks = (made[..., 8::8] - made[..., 7:-1:8]).abs().mean((1, 2, 3))
    return {
        "error": error.abs().mean((1, 2, 3)),
        "error inside": error[..., 3:-3, 3:-3].abs().mean((1, 2, 3)),
        "mean": error.mean((1, 2, 3)),
        "gradient": steps,
        "saturation": (made - made.mean(1, keepdim=True)).abs().mean((1, 2, 3)),
        "steps at blocks": blocks / steps.clamp(min=1e-6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    registry = load_plugins()
    for name, options in RECIPES.items():
        run = Run.from_dict(read_run_file(PICTURE.parents[1] / f"recipes/{name}.toml")).resolved(registry)
        scale = run.scales[0]
        side = SIDE * scale
        pixels = read_rgb(PICTURE)[TOP : TOP + side, LEFT : LEFT + side].copy()
        hr, clean = (
            torch.from_numpy(each).permute(2, 0, 1)[None].float() / 255
            for each in (pixels, imresize(pixels, 1 / scale))
        )
        degrade = built_degrader(registry, run.degradation, torch.device("cpu"))
        by_list = torch.cat([degrade(hr, scale, number) for number in range(draws)])
        augment = registry.choose("augmentation", name, options).build()
        torch.manual_seed(5)
        by_augmentation = torch.cat([augment(Batch(clean, hr)).lr for _ in range(draws)])
        one, other = statistics(by_list, clean), statistics(by_augmentation, clean)
        print(f"{name}, {draws} draws")
        for key in one:
            p = ks_2samp(one[key].numpy(), other[key].numpy()).pvalue
            print(f"  {key}: p = {p:.2f}, means {float(one[key].mean()):.5f} and {float(other[key].mean()):.5f}")


if __name__ == "__main__":
    main()
