"""What `srkit ray upscale` does to many small pictures, against `srkit upscale` of the same folder.

    python benchmarks/ray_pictures.py killed [--count 2000]      a worker killed in the middle, then the driver, then on
    python benchmarks/ray_pictures.py memory [--counts 500,2000,8000]   the driver's memory by the number of pictures
    python benchmarks/ray_pictures.py pace [--count 400 --rounds 3]     pictures a second, alternated
    python benchmarks/ray_pictures.py batches [--sides 32,64,128]   pictures of one size together against each alone

killed: bytes are compared with those of the command, the manifest is counted, what is left half-written is looked for.
memory: the highest RssAnon of the driver, read every 50 ms. pace: of Ray after its start, which is printed apart; of
the command the difference of two folders, of `count` and of a tenth of it, so that its start is left out as well.
batches: in this process, on one thread, without Ray; networks at x2 as they are initialised (srkit-swinir for one of
them), the least processor time of the rounds. Needs srkit-ray. --out FILE writes what was found as JSON.
"""

import argparse
import filecmp
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

HERE = Path(__file__).resolve().parent
PHOTO = HERE.parent / "plugins/srkit_builtin/samples/chelsea.png"
MODEL = "edsr-small"
BATCHES = (2, 4, 8)  # pictures together


def album(folder: Path, count: int, side: int) -> Path:
    """Crops of a photograph, in folders of a hundred."""
    whole = np.asarray(Image.open(PHOTO).convert("RGB"))
    places = np.random.default_rng(0).integers(0, [whole.shape[0] - side, whole.shape[1] - side], (count, 2))
    for number, (y, x) in enumerate(places):
        path = folder / f"{number // 100:03}" / f"p{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(whole[y : y + side, x : x + side]).save(path, compress_level=1)
    return folder


def ray_line(source: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "srkit", "ray", "upscale", str(source), str(out), "--model", MODEL]


def plain_line(source: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "srkit", "upscale", str(source), "-o", str(out), "--model", MODEL, "--device", "cpu"]


def call(line: list[str]) -> tuple[float, str]:
    """(seconds, what stderr said) of a command that must succeed."""
    begin = time.perf_counter()
    done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}: {done.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - begin, done.stderr


def rows(out: Path) -> list[dict]:
    found = []
    for part in sorted(out.glob("manifest-*.jsonl")):
        for text in part.read_text().splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            found += [line] if "input" in line else []
    return found


def killed(folder: Path, count: int, side: int) -> dict:
    source, out, plain = album(folder / "in", count, side), folder / "out", folder / "plain"
    driver = subprocess.Popen(ray_line(source, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(count // 10, out, driver)
    workers = [each for each in psutil.Process(driver.pid).children(recursive=True) if "MapWorker" in each.cmdline()[0]]
    workers[0].send_signal(signal.SIGKILL)
    wait_for(count // 2, out, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    first = len(rows(out))
    seconds, _ = call(ray_line(source, out))
    call(plain_line(source, plain))
    lines = rows(out)
    names = sorted(path.relative_to(plain) for path in plain.rglob("*.png"))
    same, different, missing = filecmp.cmpfiles(plain, out, [str(name) for name in names], shallow=False)
    here = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    left = [str(name) for name in here - set(names) if not name.name.startswith("manifest-")]
    found = {
        "pictures": count, "of the run that was killed": first, "lines": len(lines),
        "pictures with a line": len({line["input"] for line in lines}),
        "errors": sum(bool(line["error"]) for line in lines), "equal": len(same), "different": len(different),
        "missing": len(missing), "left half-written": left, "seconds of the rest": seconds,
    }  # fmt: skip
    print("\n".join(f"{key}: {value}" for key, value in found.items()))
    return found


def wait_for(count: int, out: Path, driver: subprocess.Popen) -> None:
    while len(rows(out)) < count:
        if driver.poll() is not None:
            raise SystemExit(f"the driver ended with {driver.returncode}")
        time.sleep(0.5)


def memory(folder: Path, counts: list[int], side: int) -> list[dict]:
    found = []
    for count in counts:
        source = album(folder / f"in{count}", count, side)
        driver = subprocess.Popen(ray_line(source, folder / f"out{count}"), stderr=subprocess.DEVNULL)
        peak = 0
        while driver.poll() is None:
            for line in Path(f"/proc/{driver.pid}/status").read_text().splitlines():
                peak = max(peak, int(line.split()[1]) * 1024) if line.startswith("RssAnon:") else peak
            time.sleep(0.05)
        if driver.returncode:
            raise SystemExit(f"the driver ended with {driver.returncode}")
        found.append({"pictures": count, "rss_anon": peak})
        print(f"{count} pictures: {peak / 1e6:.0f} MB, {peak / found[0]['rss_anon']:.2f} of the first", flush=True)
    return found


def pace(folder: Path, count: int, side: int, rounds: int) -> list[dict]:
    source = album(folder / "in", count, side)
    few = album(folder / "few", count // 10, side)
    found = []
    for turn in range(rounds):
        _, told = call(ray_line(source, folder / f"ray{turn}"))
        rate, start = map(float, re.findall(r"([\d.]+) pictures/s after a start of ([\d.]+) s", told)[0])
        whole, short = (call(plain_line(each, folder / f"{each.name}{turn}"))[0] for each in (source, few))
        plain = (count - count // 10) / (whole - short)
        found.append({"ray": rate, "start of ray": start, "plain": plain, "start of plain": short})
        print(
            f"ray {rate:.2f} pictures/s after {start:.1f} s, the command {plain:.2f}: {rate / plain:.3f} of it",
            flush=True,
        )
    return found


def batches(models: list[str], sides: list[int], rounds: int) -> list[dict]:
    """Is a batch to the bit what each of its pictures alone is, and how many times as fast?"""
    import torch

    from srkit import load_plugins
    from srkit.nets import build_net
    from srkit.upscale.wrap import make_upscaler

    torch.set_num_threads(1)
    registry, photo, found = load_plugins(), np.array(Image.open(PHOTO).convert("RGB")), []
    whole = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    for name, precision, side in product(models, ("fp32", "bf16"), sides):
        torch.manual_seed(0)
        model = registry.choose("model", name)
        upscale = make_upscaler(build_net(model, [2]), model, 2, precision=precision, in_range=False)
        for size in BATCHES:
            many = torch.cat([whole[..., y : y + side, y : y + side] for y in range(0, 10 * size, 10)])
            equal = torch.equal(upscale(many), each_alone(upscale, many))
            together, alone = [], []
            for _ in range(rounds):
                together.append(seconds_of(upscale, many))
                alone.append(seconds_of(each_alone, upscale, many))
            pace = min(alone) / min(together)
            found.append({"model": name, "precision": precision, "side": side, "batch": size, "equal": equal,
                          "seconds alone": min(alone) / size, "pace": pace})  # fmt: skip
            print(f"{name} {precision} {side}x{side}, {size} together: {'equal' if equal else 'not equal'}, {pace:.2f} "
                  f"times the pace of {min(alone) / size * 1000:.1f} ms a picture", flush=True)  # fmt: skip
    return found


def each_alone(upscale: Callable[[Any], Any], many: Any) -> Any:
    import torch

    return torch.cat([upscale(one) for one in many.split(1)])


def seconds_of(call: Callable[..., object], *words: object) -> float:
    """Of the processor: what else runs on the machine counts little."""
    begin = time.process_time()
    call(*words)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["killed", "memory", "pace", "batches"])
    parser.add_argument("--count", type=int)
    parser.add_argument("--counts", default="500,2000,8000")
    parser.add_argument("--side", type=int, help="of a picture in pixels; 32 of killed and memory, 192 of pace")
    parser.add_argument("--models", default="edsr-small,srresnet,swinir-light", help="of batches")
    parser.add_argument("--sides", default="32,64,128", help="of the pictures of batches")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if words.what == "killed":
            found = killed(Path(name), words.count or 2000, words.side or 32)
        elif words.what == "memory":
            found = memory(Path(name), [int(each) for each in words.counts.split(",")], words.side or 32)
        elif words.what == "batches":
            sides = [int(each) for each in words.sides.split(",")]
            found = batches(words.models.split(","), sides, words.rounds)
        else:
            found = pace(Path(name), words.count or 400, words.side or 192, words.rounds)
    if words.out:
        words.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
