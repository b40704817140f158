"""A training of several ranks that Ray places and restarts, instead of torchrun.

    python examples/ray_train.py --workers 2 -- --model edsr-small --steps 200 --out runs/by-ray

What follows `--` are the words of `srkit train`; `--resume auto` is added, so that a rank that is lost is restarted and
the run goes on. --out must be a folder that all nodes see. Needs `pip install "ray[train]"`.
"""

import argparse
import os
from pathlib import Path


def rank(words: dict) -> None:
    """One rank. Ray Train has set RANK, LOCAL_RANK and WORLD_SIZE, and joined the ranks."""
    from srkit.cli import run

    os.chdir(words["folder"])
    code = run(["train", *words["train"], "--resume", "auto"])
    if code:
        raise SystemExit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpu", action="store_true", help="a card for each")
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("train", nargs="+", help="the words of srkit train")
    words = parser.parse_args()

    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        rank,
        torch_config=TorchConfig(timeout_s=2 * 3600),  # one rank packs a large dataset while the others wait
        train_loop_config={"train": words.train, "folder": str(Path.cwd())},
        scaling_config=ScalingConfig(num_workers=words.workers, use_gpu=words.gpu),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=words.restarts)),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
