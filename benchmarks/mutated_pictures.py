"""Read thousands of damaged pictures: no traceback, no crash, nothing that takes ten seconds or a gigabyte.

    python benchmarks/mutated_pictures.py [--count 5000] [--seed 0] [--keep FOLDER] [--upscale] [FILE ...]

Small pictures in every format that is written, of 8 and 16 bits, with metadata, and the files given, are damaged by
changed, cut, doubled and moved bytes, more often at their beginning. Each is read as training reads it and with all its
bits; what is read is written as PNG and has to be whole. A crash of a library ends only the process of its batch, and
counts. Prints a line for each file that does what none may, and a table of what came out; the exit code says whether
all is well. --upscale: all of them through one `srkit upscale` instead, whose results have to open and be all there is.
"""

import argparse
import collections
import json
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

SLOW, MUCH = 10.0, 1 << 20  # seconds, kB of RssAnon
BATCH = 250


def originals(folder: Path) -> list[Path]:
    """24x24 pictures in all formats and depths, with all metadata."""
    from srkit.images import FORMATS, About, encoding_for, write_pixels

    rng = np.random.default_rng(0)
    exif = b"MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\x08\0\0\0\x26\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0a camera"
    about = About(
        exif=exif, xmp=b"<x:xmpmeta tiff:Orientation='1'></x:xmpmeta>", dpi=(300, 300), text=(("Title", "t"),)
    )
    made = []
    for kind, (suffix, *_) in FORMATS.items():
        for depth in (np.uint8, np.uint16):
            for channels in (1, 2, 3, 4):
                pixels = rng.integers(0, np.iinfo(depth).max, (24, 24, channels), depth)
                path = folder / f"{kind}{channels}{np.dtype(depth).itemsize}{suffix}"
                write_pixels(path, pixels, about, encoding_for(path))
                made.append(path)
    from PIL import Image

    frames = [Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)) for _ in range(2)]
    for suffix in ("gif", "png", "webp", "tif", "ico", "tga", "ppm", "pcx", "sgi"):
        path = folder / f"pillow.{suffix}"
        several = {"save_all": True, "append_images": frames[1:]} if suffix in ("gif", "png", "webp", "tif") else {}
        frames[0].save(path, **several)
        made.append(path)
    return made


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to six of: a byte changed, a number made large, a piece cut, doubled or moved, the end cut off."""
    held = bytearray(data)
    for _ in range(rng.integers(1, 7)):
        end = len(held) if rng.random() < 0.4 else min(len(held), 200)
        at, how = int(rng.integers(0, max(1, end))), int(rng.integers(0, 12))
        size = int(rng.integers(1, 9))
        if how < 6:
            held[at : at + 1] = bytes([int(rng.integers(0, 256))])
        elif how < 8:
            number = int(rng.choice([0, 1, 255, 256, 65535, 65536, 1 << 24, (1 << 31) - 1, (1 << 32) - 1]))
            held[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), number)
        elif how == 8:
            del held[at : at + size]
        elif how == 9:
            held[at:at] = held[at : at + size]
        elif how == 10:
            other = int(rng.integers(0, max(1, len(held) - size)))
            held[at : at + size] = held[other : other + size]
        elif rng.random() < 0.3:
            del held[int(rng.integers(1, max(2, len(held)))) :]
    return bytes(held)


def anonymous() -> int:
    """kB of memory that no file backs."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])


def judge(path: Path, folder: Path) -> tuple[str, float, int]:
    """(what came out, seconds, peak kB more than before) of one file, read both ways and written."""
    from srkit import SrkitError
    from srkit.images import encoding_for, read_picture, write_pixels

    before, peak, done = anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.003):
            peak = max(peak, anonymous() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, words = time.perf_counter(), "read"
    try:
        for deep in (False, True):
            picture = read_picture(path, deep=deep)
        if picture.rgb.size < 1 << 22:
            target = folder / "out.png"
            write_pixels(target, picture.channels(), picture.about, encoding_for(target))
            if read_picture(target, deep=True).rgb.shape != picture.rgb.shape:
                words = "WRONG"
    except SrkitError as error:
        words = "refused" if "\n" not in str(error) else f"LINES {error!s}"
    except BaseException as error:
        words = f"TRACEBACK {type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    return words, seconds, peak


def worker(files: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in files:
            print(json.dumps({"begun": name}), flush=True)
            words, seconds, peak = judge(Path(name), Path(folder))
            left = [path.name for path in Path(folder).iterdir() if path.name != "out.png"]
            print(json.dumps({"name": name, "words": words, "s": seconds, "kb": peak, "left": left}), flush=True)


def judged(files: list[Path]) -> list[dict]:
    """What each of `files` came to; a process that crashes is begun again behind the file that it crashed on."""
    found = []
    while files:
        command = [sys.executable, __file__, "--worker", *map(str, files[:BATCH])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            output, said = done.stdout, done.stderr
        except subprocess.TimeoutExpired as error:
            output, said = (error.stdout or b"").decode(), "took too long"
        lines = [json.loads(line) for line in output.splitlines()]
        finished = [line for line in lines if "name" in line]
        count = len(finished)
        found += finished
        if count < len(files[:BATCH]):
            found.append({"name": str(files[count]), "words": f"CRASH {said[-300:]}", "s": 0, "kb": 0, "left": []})
            count += 1
        elif "Traceback" in said:  # libtiff writes lines of its own
            found.append({"name": "a batch", "words": f"STDERR {said[:300]}", "s": 0, "kb": 0, "left": []})
        files = files[count:]
    return found


def upscaled(folder: Path) -> int:
    """All files of a folder through one command; 0 where each is a picture or one line, and nothing else is left."""
    from PIL import Image

    out = folder.parent / "out"
    words = [
        sys.executable,
        "-m",
        "srkit",
        "upscale",
        folder,
        "-o",
        out,
        "--model",
        "bicubic",
        "--scale",
        "2",
        "--json",
    ]
    began = time.perf_counter()
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    made = [line for line in lines if "error" not in line]
    slow = [line for line in made if line["seconds"] > SLOW]
    broken = []
    for line in made:
        try:
            with Image.open(line["target"]) as image:
                image.load()
                if image.size != (line["width"], line["height"]):
                    broken.append(line)
        except Exception:
            broken.append(line)
    left = {path for path in out.rglob("*") if path.is_file()} - {Path(line["target"]) for line in made}
    trace = (
        "Traceback" in done.stderr or "unexpected" in done.stderr or any("unexpected" in str(line) for line in lines)
    )
    print(
        f"exit code {done.returncode}: {len(made)} made, {len(lines) - len(made)} refused in a line, {len(slow)} slow, "
        f"{len(broken)} broken, {len(left)} left over, traceback: {trace}, {seconds:.0f} s in all"
    )
    for line in [*slow, *broken, *(line for line in lines if "unexpected" in str(line))]:
        print(line)
    if "Traceback" in done.stderr:
        print(done.stderr[done.stderr.index("Traceback") :][:2000])
    return int(bool(slow or broken or left or trace or done.returncode != 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files that do what none may")
    parser.add_argument("--upscale", action="store_true", help="all through one command")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        worker(chosen.files)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        sources = [*originals(Path(folder)), *map(Path, chosen.files)]
        files = []
        for number in range(chosen.count):
            rng = np.random.default_rng([chosen.seed, number])
            source = sources[number % len(sources)]
            files.append(Path(folder) / "in" / f"{number}{source.suffix}")
            files[-1].parent.mkdir(exist_ok=True)
            files[-1].write_bytes(mutated(source.read_bytes(), rng))
        if chosen.upscale:
            return upscaled(Path(folder) / "in")
        results = judged(files)
        bad = [
            each for each in results
            if each["words"] not in ("read", "refused") or each["s"] > SLOW or each["kb"] > MUCH or each["left"]
        ]  # fmt: skip
        for each in bad:
            name, cost = Path(each["name"]).name, f"{each['s']:.1f} s, {each['kb'] / 1024:.0f} MB"
            print(f"{name}: {each['words']} ({cost}) {each['left']}")
            if chosen.keep and Path(each["name"]).exists():
                chosen.keep.mkdir(parents=True, exist_ok=True)
                (chosen.keep / Path(each["name"]).name).write_bytes(Path(each["name"]).read_bytes())
        counts = collections.Counter(each["words"].split()[0] for each in results)
        slowest, largest = max(each["s"] for each in results), max(each["kb"] for each in results)
        print(f"{dict(counts)}; the slowest took {slowest:.1f} s, the largest {largest / 1024:.0f} MB")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
