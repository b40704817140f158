"""What `srkit upscale` costs beside its network: time over the bare forward of the same pixels, and memory by size.

    python benchmarks/upscale_overhead.py time            2 and 8 megapixels in, each against the bare network
    python benchmarks/upscale_overhead.py memory          10, 100 and 400 megapixels out, each in a process of its own

time: the best of three; the network alone is called once on the whole picture, as `net(lr)`: in a process of its own,
as torch runs it ("plain"), and beside the command with freed memory kept as the command keeps it ("kept"). memory: the
highest RssAnon of the process, read every 20 ms; mapped files are not part of it. Results as JSON with --out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from srkit.malloc import keep_freed_memory

HERE = Path(__file__).resolve().parent
ASTRONAUT = HERE.parent / "plugins/srkit_builtin/samples/chelsea.png"


def photo(width: int, height: int, path: Path) -> Path:
    """A JPEG of that size: a photograph, repeated in mirrored copies, with a little noise that tells them apart."""
    tile = np.asarray(Image.open(ASTRONAUT).convert("RGB"))
    pair = np.concatenate([tile, tile[:, ::-1]], 1)
    pair = np.concatenate([pair, pair[::-1]], 0)
    rows, columns = -(-height // pair.shape[0]), -(-width // pair.shape[1])
    whole = np.tile(pair, (rows, columns, 1))[:height, :width]
    Image.fromarray(whole).save(path, quality=92)
    return path


def times(model: str, scale: int) -> list[dict]:
    import torch

    import srkit
    from srkit.images import read_picture

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for width, height in ((1632, 1224), (3264, 2448)):
            source = photo(width, height, Path(folder) / "photo.jpg")
            loaded = srkit.load(model, scale, device="cpu")
            lr = torch.tensor(read_picture(source).rgb).permute(2, 0, 1)[None].float() / 255
            lr = lr.contiguous(memory_format=torch.channels_last)
            net = loaded.net.to(memory_format=torch.channels_last).eval()
            bare, whole = [], []
            for number in range(3):
                with torch.inference_mode():
                    begin = time.perf_counter()
                    net(lr)
                    bare.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                loaded.upscale_file(source, Path(folder) / f"{number}.png")
                whole.append(time.perf_counter() - begin)
            words = [sys.executable, __file__, "plain", "--model", model, "--scale", str(scale), "--photo", source]
            done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True)
            row = {"input": f"{width}x{height}", "plain": float(done.stdout), "kept": min(bare), "upscale": min(whole)}
            found.append(row)
            print(
                f"{row['input']}: network {row['plain']:.2f} s plain, {row['kept']:.2f} s kept; upscale "
                f"{row['upscale']:.2f} s, {100 * (row['upscale'] / row['plain'] - 1):+.1f} % and "
                f"{100 * (row['upscale'] / row['kept'] - 1):+.1f} %",
                flush=True,
            )
    return found


def plain(model: str, scale: int, source: Path) -> None:
    """Print the best seconds of the network on a whole picture, as torch runs it by itself."""
    import torch

    import srkit
    from srkit.images import read_picture

    net = srkit.load(model, scale, device="cpu").net.to(memory_format=torch.channels_last).eval()
    lr = torch.tensor(read_picture(source).rgb).permute(2, 0, 1)[None].float() / 255
    lr = lr.contiguous(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(3):
        with torch.inference_mode():
            begin = time.perf_counter()
            net(lr)
            best = min(best, time.perf_counter() - begin)
    print(best)


def memory(model: str, scale: int, megapixels: list[int]) -> list[dict]:
    found = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        for each in megapixels:
            height = round((each * 1e6 * 3 / 4) ** 0.5 / scale)
            source = photo(round(height * 4 / 3), height, Path(folder) / "photo.jpg")
            words = [sys.executable, "-m", "srkit", "upscale", source, "--model", model, "--scale", str(scale)]
            words += ["-o", Path(folder) / "out.png", "--device", "cpu"]
            begin = time.perf_counter()
            process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
            peak = highest(process)
            found.append({"megapixels": each, "rss_anon": peak, "seconds": time.perf_counter() - begin})
            print(
                f"{each} megapixels out: {peak / 1e6:.0f} MB, {peak / found[0]['rss_anon']:.2f} of the first",
                flush=True,
            )
            if process.returncode:
                raise SystemExit(f"srkit upscale failed with {process.returncode}")
    return found


def highest(process: subprocess.Popen) -> int:
    """The highest RssAnon in bytes until the process ends."""
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        for line in status.splitlines():
            if line.startswith("RssAnon:"):
                peak = max(peak, int(line.split()[1]) * 1024)
        time.sleep(0.02)
    process.wait()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "memory", "plain"])
    parser.add_argument("--model", default="edsr-small")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--megapixels", default="10,100,400")
    parser.add_argument("--photo", type=Path, help="of plain, which time runs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.what == "plain":
        plain(options.model, options.scale, options.photo)
        return
    keep_freed_memory()
    if options.what == "time":
        found = times(options.model, options.scale)
    else:
        found = memory(options.model, options.scale, [int(each) for each in options.megapixels.split(",")])
    if options.out:
        options.out.write_text(
            json.dumps({"what": options.what, "threads": os.cpu_count(), "rows": found}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
