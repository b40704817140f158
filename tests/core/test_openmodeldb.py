"""Entries for OpenModelDB: of its form, as its own source says it, and of the file that is offered.

People's entries were refused for their type (OpenModelDB/open-model-database#403) and named sizes and hashes of files
that nobody has (#509); that the address of an entry serves the file it names is in tests/cli/test_weights.py.
"""

import hashlib
import json
import re
from datetime import date
from pathlib import Path

import pytest
import torch

from srkit import UsageError
from srkit.checkpoint import save_tensors
from srkit.run import Run
from srkit.weights.openmodeldb import dashes, model_id, schema
from srkit.weights.publish import prepare

jsonschema = pytest.importorskip("jsonschema")
#: an entry as those that OpenModelDB has, in its form
THEIRS = {
    "name": "1xDeNoise", "author": ["anna", "ben-2"], "license": "CC-BY-4.0", "tags": ["denoise", "photo"],
    "description": "Removes noise.\n\nFrom scans.", "date": "2024-08-08", "architecture": "realplksr", "size": None,
    "scale": 1, "inputChannels": 3, "outputChannels": 3, "trainingIterations": 210000, "trainingOTF": False,
    "pretrainedModelG": "1x-DeJPG-realplksr-otf",
    "resources": [
        {"platform": "pytorch", "type": "pth", "size": 29559554, "sha256": "9" * 64, "urls": ["https://a.b/c.pth"]},
        {"platform": "onnx", "type": "onnx", "size": 29874321, "sha256": "0" * 64, "urls": ["https://a.b/c.onnx"]},
    ],
    "images": [{"type": "paired", "caption": "1", "LR": "https://a.b/l.png", "SR": "https://a.b/s.png"},
               {"type": "standalone", "url": "https://a.b/s.png"}],
}  # fmt: skip


def mistakes(entry: dict) -> list[str]:
    jsonschema.Draft202012Validator.check_schema(schema())
    return [error.json_path for error in jsonschema.Draft202012Validator(schema()).iter_errors(entry)]


@pytest.mark.parametrize(
    ("key", "value"),
    [("tags", []), ("author", "Anna B"), ("scale", 0), ("scale", 1.5), ("date", "8.8.2024"), ("description", " a"),
     ("license", "mine alone"), ("architecture", "Real PLKSR"), ("pretrainedModelG", "DeJPG"), ("thumbnail", {}),
     ("resources", []), ("resources", [{**THEIRS["resources"][0], "type": "zip"}]), ("size", []),
     ("resources", [{**THEIRS["resources"][0], "sha256": None}]),
     ("resources", [{**THEIRS["resources"][1], "platform": "pytorch"}])],
)  # fmt: skip
def test_the_schema_takes_what_they_have_and_refuses_what_they_refuse(key, value):
    assert mistakes(THEIRS) == []
    assert mistakes({**THEIRS, key: value})


def checkpoint(registry, model: str, scales: list[int], run: Run | None = None, **options) -> Path:
    chosen = registry.choose("model", model, options)
    net = chosen.build(scales if chosen.component.multi_scale else scales[0])
    about = {
        "model": {"name": chosen.entry.qualified, "version": chosen.entry.version, "options": chosen.options},
        "scales": scales, "step": 500, "licence": "mit", "scores": {"psnr": 33.6734, "protocol": "y", "set": "samples"},
    }  # fmt: skip
    save_tensors(Path("m.safetensors"), net.state_dict(), about | ({"run": run.to_dict()} if run else {}))
    return Path("m.safetensors")


def written(registry, *words: str, **options) -> dict[str, dict]:
    done = prepare(registry, Path("m.safetensors"), Path("out"), *words, **options)
    found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in done.entries}
    assert all(mistakes(entry) == [] for entry in found.values())
    assert set(done.entries) <= set(done.files)
    return found


def test_an_entry_says_what_the_checkpoint_says(registry):
    run = Run.from_dict(
        {"scale": 2, "steps": 900, "batch": 8, "patch": 24, "model": "edsr", "degradation": [{"name": "jpeg"}],
         "data": [{"name": "samples", "weight": 3.0}, {"name": "div2k", "root": "/home/anna/secret/DIV2K"}]}
    ).resolved(registry)  # fmt: skip
    checkpoint(registry, "edsr", [2], run, n_resblocks=1, n_feats=4)
    entries = written(registry, "Anna_B/photos-x2", "MIT", tags=["photo", "jpeg"])
    assert list(entries) == ["2x-photos.json"]
    entry = entries["2x-photos.json"]
    data = Path("out/model.safetensors").read_bytes()
    assert entry["resources"] == [
        {"platform": "pytorch", "type": "safetensors", "size": len(data), "sha256": hashlib.sha256(data).hexdigest(),
         "urls": ["https://huggingface.co/Anna_B/photos-x2/resolve/main/model.safetensors"]}
    ]  # fmt: skip
    told = {key: entry[key] for key in ("name", "author", "license", "tags", "date", "architecture", "size", "scale")}
    assert told == {
        "name": "photos-x2", "author": "anna-b", "license": "MIT", "tags": ["photo", "jpeg"], "scale": 2,
        "date": date.today().isoformat(), "architecture": "edsr", "size": None,
    }  # fmt: skip
    trained = {key: entry[key] for key in entry if key.startswith(("training", "dataset"))}
    assert trained == {
        "trainingIterations": 500, "trainingBatchSize": 8, "trainingHRSize": 48, "trainingOTF": True,
        "dataset": "samples (split=train, weight=3.0) and div2k (root=DIV2K, split=train, track=bicubic)",
    }  # fmt: skip
    assert "PSNR 33.6734 on samples, protocol y" in entry["description"]
    assert "secret" not in json.dumps(entry)
    card = Path("out/README.md").read_text()
    assert "samples (split=train, weight=3.0)" in card
    assert "div2k (root=DIV2K, split=train, track=bicubic)" in card


def test_several_scales_are_several_entries_of_one_file(registry):
    checkpoint(registry, "mdsr", [2, 4], n_resblocks=1, n_feats=4)
    entries = written(registry, "anna/both", tags=["photo"])
    assert list(entries) == ["2x-both.json", "4x-both.json"]
    assert [entry["scale"] for entry in entries.values()] == [2, 4]
    assert entries["2x-both.json"]["resources"] == entries["4x-both.json"]["resources"]
    assert not any(key.startswith(("training", "dataset")) for key in entries["2x-both.json"])


def test_what_is_assumed_or_may_be_unknown_there_is_said(registry):
    checkpoint(registry, "mdsr", [2], n_resblocks=1, n_feats=4)
    done = prepare(registry, Path("m.safetensors"), Path("out"), "anna/x", "for friends")
    assert [note.split(",")[0] for note in done.notes] == [
        "the tag general-upscaler was assumed", "it may have no architecture 'mdsr'", "of licences it knows Apache-2.0",
    ]  # fmt: skip
    assert json.loads(done.entries[0].read_text())["license"] is None
    checkpoint(registry, "srresnet", [2])
    done = prepare(registry, Path("m.safetensors"), Path("out"), "anna/x", "MIT", tags=["photo", "knitting"])
    assert done.notes == ["it may have no tag 'knitting'"]
    assert json.loads(done.entries[0].read_text())["architecture"] == "sr-res-net"
    with pytest.raises(UsageError, match="'Two Words' is not a tag of OpenModelDB, as anime"):
        prepare(registry, Path("m.safetensors"), Path("none"), "anna/x", "MIT", tags=["Two Words"])
    assert not Path("none").exists()


def test_ids_are_as_openmodeldb_would_correct_them():
    names = {"photos-x2": "2x-photos", "2x_Photos": "2x-Photos", "a--b.c": "2x-a-b-c", "12x": "2x-12x", "x2": "2x-x2"}
    assert {name: model_id(name, 2) for name in names} == names
    assert all(re.fullmatch(schema()["$defs"]["model"]["pattern"], name) for name in names.values())
    assert dashes("_Anna__B.") == "Anna-B"


def test_the_tensors_offered_are_those_of_the_checkpoint(registry):
    from srkit.checkpoint import read_tensors

    checkpoint(registry, "edsr", [2], n_resblocks=1, n_feats=4)
    written(registry, "anna/x", tags=["photo"])
    ours, theirs = read_tensors(Path("m.safetensors")), read_tensors(Path("out/model.safetensors"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)
