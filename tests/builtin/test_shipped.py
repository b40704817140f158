"""The weights in the wheel: each file is the one that was measured, does what its record says, and has a record."""

import importlib.util
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hatchling.builders.wheel import WheelBuilder

from srkit import load_plugins, read_rgb
from srkit.checkpoint import read_about, read_tensors
from srkit.evaluate.protocol import protocol_named
from srkit.evaluate.score import mean, score_pairs
from srkit.run import Run, read_run_file
from srkit.upscale.wrap import make_upscaler
from srkit.weights.find import registered_file
from srkit.weights.loading import load_located
from srkit.weights.locate import located_offer
from srkit.weights.offered import claims_at
from srkit_builtin.shipped import listed, shipped

ROOT = Path(__file__).parents[2]
FILES = {each["file"]: each for each in listed()}
AT_SCALE = [(name, scale) for name, each in FILES.items() for scale in each["scales"]]
LARGEST = 6_000_000  # bytes, of all together


def module(path: str):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    sys.modules[spec.name] = found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def ship():
    return module("benchmarks/ship_weights.py")


@pytest.fixture(scope="module")
def builtin():
    return load_plugins()


def record_of(name):
    return ROOT / "benchmarks/records" / FILES[name]["record"]


def loaded(registry, name, scale):
    (weights,) = (w for w in shipped(FILES[name]["model"]) if w.resource.endswith(f"/{name}"))
    model = registry.choose("model", FILES[name]["preset"])
    return load_located(registry, located_offer(model, weights, scale), "cpu")


@pytest.mark.parametrize(("name", "scale"), AT_SCALE)
def test_a_file_makes_the_pixels_that_were_recorded(builtin, ship, name, scale):
    """To the bit on the kind of machine that recorded them; elsewhere a sum may round the other way."""
    here = loaded(builtin, name, scale)
    assert {parameter.dtype for parameter in here.net.parameters()} == {torch.float32}
    made, recorded = ship.pixels_of(here), FILES[name]["pixels"]
    told = read_rgb(record_of(name) / f"pixels-x{scale}.png")
    assert ship.digest(told) == recorded[f"x{scale}"]
    if ship.machine() == recorded["machine"]:
        assert ship.digest(made) == recorded[f"x{scale}"]
    assert np.abs(made.astype(int) - told).max() <= 1


def test_the_claims_are_what_set5_gives(builtin, shared):
    claimed, upscalers = {}, defaultdict(dict)
    for name, scale in AT_SCALE:
        here = loaded(builtin, name, scale)
        upscalers[scale][name] = make_upscaler(here.net, here.model, scale)
        claimed[name, scale] = claims_at(here.weights, scale)["set5 y psnr"]
    measured = {}
    for scale, together in upscalers.items():
        pairs = builtin.choose("dataset", "set5").build(shared / "bench", "test", scale)
        metrics = {"psnr": builtin.choose("metric", "psnr").build()}
        found = score_pairs(together, pairs, scale, metrics, protocol_named("y"), device=torch.device("cpu"))
        measured |= {(name, scale): mean(i.scores["psnr"] for i in each.images) for name, each in found.items()}
    assert measured == pytest.approx(claimed, abs=0.01)


@pytest.mark.parametrize("name", FILES)
def test_a_file_and_its_record_say_the_same(builtin, name):
    each, folder = FILES[name], record_of(name)
    path = ROOT / "plugins/srkit_builtin/weights" / name
    about, run = read_about(path), Run.from_dict(read_run_file(folder / "run.toml"))
    assert run.to_toml() == Run.from_dict(about["run"]).to_toml()
    assert run.resolved(builtin).model.options == about["model"]["options"]
    assert tuple(run.scales) == tuple(about["scales"]) == tuple(each["scales"])
    assert about["licence"] == each["licence"] == "CC-BY-SA-4.0"
    kernels = {tensor.dtype for tensor in read_tensors(path).values() if tensor.ndim > 1}
    assert kernels == {{"fp16": torch.float16, "fp32": torch.float32}[each["kernels"]]}
    page = (folder / "README.md").read_text()
    assert f"srkit train --run benchmarks/records/{folder.name}/run.toml" in page
    assert f"{claims_at_first(each):.4f}" in page
    assert (folder / "log.jsonl").stat().st_size


def claims_at_first(each):
    several = len(each["scales"]) > 1
    return each["claims"][f"set5 x{each['scales'][0]} y psnr" if several else "set5 y psnr"]


def test_a_changed_file_is_refused(builtin, monkeypatch, tmp_path):
    name = next(iter(FILES))
    data = (ROOT / "plugins/srkit_builtin/weights" / name).read_bytes()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    monkeypatch.setattr("srkit.weights.find.files", lambda package: tmp_path)
    (weights,) = (w for w in shipped(FILES[name]["model"]) if w.resource.endswith(f"/{name}"))
    with pytest.raises(Exception, match="its SHA-256 differs"):
        registered_file(builtin.choose("model", FILES[name]["preset"]), weights)


def test_the_wheel_has_them_and_they_are_small(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        sizes = {
            Path(info.filename).name: info.file_size for info in archive.infolist() if "/weights/" in info.filename
        }
    weights = {name: size for name, size in sizes.items() if name.endswith(".safetensors")}
    assert weights.keys() == FILES.keys()
    assert sum(weights.values()) < LARGEST
    assert {"weights.toml", "PHOTOGRAPHS.tsv"} <= sizes.keys()


def test_the_photographs_are_named_with_source_and_licence():
    lines = (ROOT / "plugins/srkit_builtin/weights/PHOTOGRAPHS.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    assert rows[0] == ["file", "source", "licence_as_stated"]
    assert len(rows) == 241
    assert all(len(row) == 3 and all(row) for row in rows)


def test_the_table_of_the_docs_is_what_ships():
    """After a change: python docs/generate_weights.py"""
    pages = module("docs/generate_weights.py")
    assert pages.PAGE.read_text(encoding="utf-8") == pages.page()
