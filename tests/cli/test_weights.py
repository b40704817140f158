"""`srkit weights`: looking, converting, sharing on a hub that runs here, and weights a plugin has at an address."""

import hashlib
import json
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image

import srkit
from srkit import FetchError, UnknownName, Weights
from srkit.checkpoint import read_about, read_tensors, save_tensors
from srkit.weights.convert import convert
from srkit.weights.loading import find_tensors, load_model
from tests.hub import TOKEN, hub

__all__ = ["hub"]


def small(registry, scale: int = 2, **options):
    torch.manual_seed(1)
    return registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 4, **options}).build(scale)


def test_show_says_what_a_run_holds(run_srkit, trained):
    code, out, _ = run_srkit("weights", "show", trained)
    psnr = read_about(trained / "best.safetensors")["scores"]["psnr"]
    assert code == 0
    for words in ("srkit:edsr", "x2", "n_resblocks=1, n_feats=4, res_scale=1.0", "1,259", "60 of 60", "srkit:samples",
                  f"PSNR {psnr:.4f} on samples (protocol y)", "MIT", "16, float32"):  # fmt: skip
        assert words in out
    about = json.loads(run_srkit("weights", "show", trained, "--json")[1])
    assert (about["layout"], about["scales"], about["parameters"], about["step"]) == ("srkit", [2], 1259, 60)
    assert about["scores"]["protocol"] == "y"


def test_show_says_what_a_strangers_file_holds(run_srkit, registry):
    net = small(registry, 4, n_feats=6)
    torch.save(net.state_dict(), "e.pt")
    about = json.loads(run_srkit("weights", "show", "e.pt", "--json")[1])
    assert (about["layout"], about["model"], about["scales"]) == ("edsr-pytorch", "srkit:edsr", [4])
    assert (about["options"]["n_feats"], about["assumed"]) == (6, {"res_scale": 1.0})
    assert run_srkit("weights", "convert", "e.pt", "-o", "b.pth")[0] == 0
    _, out, _ = run_srkit("weights", "show", "b.pth")
    assert "basicsr (XPixelGroup/BasicSR)" in out
    assert "res_scale=1.0, img_range=255.0, rgb_mean=[0.4488, 0.4371, 0.404]: the file does not say" in out
    torch.save({f"up.{i}.weight": torch.zeros(7, 3, 2) for i in range(12)}, "unknown.pth")
    _, out, _ = run_srkit("weights", "show", "unknown.pth")
    assert "none that srkit or an installed plugin knows" in out
    assert [line.split()[-1] for line in out.splitlines() if "12 x up.*.weight" in line] == ["7,3,2"]


def test_show_lists_the_weights_of_a_name(run_srkit, trained):
    assert "'edsr' has no weights; train it with: srkit train --model edsr" in run_srkit("weights", "show", "edsr")[1]
    Path("runs").mkdir()
    Path("runs/a").symlink_to(trained)
    _, out, _ = run_srkit("weights", "show", "edsr")
    assert str(Path("runs/a/best.safetensors")) in out


WRONG = {
    "a file": ("show nothing.pth", 2, "no checkpoint 'nothing.pth'"),
    "a name": ("show edsrr", 2, "no model called 'edsrr'; did you mean 'edsr'?"),
    "text": ("show text.pth", 1, "'text.pth' holds no tensors that can be read safely"),
    "torn": ("show torn.safetensors", 1, "'torn.safetensors' holds no tensors that can be read safely"),
    "a folder": ("show empty", 1, "no checkpoint in 'empty'"),
    "no -o": ("convert text.pth", 2, "missing option '-o'"),
    "unknown": ("convert unknown.pth -o o.safetensors", 1, "'unknown.pth' is in no layout srkit knows"),
    "a training state": ("show state.safetensors", 1, "'state.safetensors' is a training state; the weights beside it"),
    "a state to push": ("push state.safetensors anna/edsr --dry-run", 1, "'state.safetensors' is a training state"),
    "no hub's name": ("show hf:anna", 2, "'anna' is not a repository; write owner/name"),
    "a subcommand": ("shwo", 2, "no command 'shwo'"),
    "no repository": ("push empty anna", 2, "'anna' is not a repository; write owner/name"),
    "nothing to push": ("push nothing anna/edsr", 2, "no run or checkpoint 'nothing'"),
    "a stranger's": ("push unknown.pth anna/edsr --dry-run", 1, "srkit weights convert FILE -o OUT.safetensors"),
    "-o alone": ("push unknown.pth anna/edsr -o x", 2, "-o is for --dry-run"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_gets_one_line(run_srkit, case):
    Path("empty").mkdir()
    Path("text.pth").write_text("weights")
    Path("torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    torch.save({"x": torch.zeros(1)}, "unknown.pth")
    save_tensors(Path("state.safetensors"), {"x": torch.zeros(1)}, {"step": 3})
    line, expected, words = WRONG[case]
    code, out, err = run_srkit("weights", *line.split())
    assert (code, out) == (expected, "")
    assert words in err
    assert err.count("\n") == 1
    assert not Path("o.safetensors").exists()


def test_convert_says_what_was_assumed_and_what_to_tell_the_other_program(run_srkit, registry, photo):
    net = small(registry)
    torch.save(net.state_dict(), "e.pt")
    code, out, err = run_srkit("weights", "convert", "e.pt", "-o", "e.safetensors")
    assert code == 0
    assert "e.pt does not say res_scale=1.0; that was assumed" in err
    assert "e.safetensors: edsr x2, from edsr-pytorch to srkit" in out
    code, out, err = run_srkit(
        "weights", "convert", "e.pt", "-o", "b.pth", "--set", "res_scale=0.1", "--set", "img_range=1"
    )
    assert (code, err) == (0, "")
    for words in ("num_feat: 4", "num_block: 1", "upscale: 2", "res_scale: 0.1", "img_range: 1.0"):
        assert words in out


def test_a_strangers_file_is_used_like_a_checkpoint(run_srkit, registry, photo):
    torch.save(small(registry).state_dict(), "e.pt")
    Image.fromarray(photo[:30, :41]).save("p.png")
    code, out, err = run_srkit("upscale", "p.png", "--model", "e.pt")
    assert (code, out) == (0, "p_edsr_x2.png  (41x30 -> 82x60)\n")
    assert err == "srkit: edsr x2 from e.pt, assuming res_scale=1.0\nsrkit: in fp32, by PyTorch\n"
    code, out, err = run_srkit("bench", "e.pt", "--models", "nearest", "--sets", "samples", "--scales", "2", "--json")
    assert code == 0, err
    rows = {row["model"]: row for row in json.loads(out)["rows"]}
    assert rows["e.pt"]["parameters"] == 1259
    assert 0 < rows["e.pt"]["psnr"] < 20  # it was never trained


def front_matter(card: str) -> dict[str, str]:
    lines = card.split("---\n")[1].splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line and line[0] not in " -")


FOR_OPENMODELDB = (
    "srkit: for OpenModelDB: 2x-edsr-tiny.json goes into data/models of its repository; "
    "the tag general-upscaler was assumed, --tags says otherwise\n"
)


def test_a_dry_run_writes_the_repository(run_srkit, trained, tmp_path):
    code, out, err = run_srkit("weights", "push", trained, "anna/edsr-tiny", "--dry-run", "-o", "repo")
    assert (code, err) == (0, FOR_OPENMODELDB)
    assert out.split() == ["repo/model.safetensors", "repo/README.md", "repo/run.toml", "repo/2x-edsr-tiny.json"]
    names = ["2x-edsr-tiny.json", "README.md", "model.safetensors", "run.toml"]
    assert sorted(p.name for p in Path("repo").iterdir()) == names
    about = read_about(trained / "best.safetensors")
    ours, theirs = read_tensors(trained / "best.safetensors"), read_tensors(Path("repo/model.safetensors"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)
    assert read_about(Path("repo/model.safetensors")) == about
    assert tomllib.loads(Path("repo/run.toml").read_text()) == about["run"]
    card = Path("repo/README.md").read_text()
    assert front_matter(card) == {"license": "mit", "library_name": "srkit", "pipeline_tag": "image-to-image"}
    for words in ("- super-resolution\n", "$ srkit upscale photo.jpg --model anna/edsr-tiny\n", "$ pip install srkit\n",
                  'srkit.load("anna/edsr-tiny").upscale(Image.open("photo.jpg"))', "| parameters | 1,259 |",
                  "| options | n_resblocks=1, n_feats=4, res_scale=1.0 |", "| data | samples (split=train) |",
                  "| steps | 60 |", "| loss | l1 |", "learning rate 0.001 |", "| schedule | step (",
                  f"| samples | PSNR | {about['scores']['psnr']:.4f} | y |", "Weights: MIT."):  # fmt: skip
        assert words in card


def test_the_card_keeps_paths_to_itself_and_names_the_data_and_its_licence(run_srkit, registry, trained, tmp_path):
    about = read_about(trained / "best.safetensors")
    run = about["run"]
    run["data"] = {"name": "srkit:div2k", "root": "/home/anna/secret/DIV2K", "split": "train"}
    run["init_from"] = "~/private/first.safetensors"
    changed = {key: value for key, value in about.items() if key != "format"} | {"scores": {}, "run": run}
    save_tensors(Path("m.safetensors"), read_tensors(trained / "best.safetensors"), changed)
    words = ["m.safetensors", "anna/edsr", "--dry-run", "--licence", "All rights | mine"]
    assert run_srkit("weights", "push", *words)[0] == 0
    folder = Path("edsr")
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"secret" not in everything
    assert b"private" not in everything
    card = (folder / "README.md").read_text()
    assert front_matter(card)["license"] == "other"
    assert front_matter(card)["license_name"] == "All rights | mine"
    assert "model-index" not in card
    assert "These weights carry no score" in card
    assert "| data | div2k (root=DIV2K, split=train); academic research only" in card
    assert read_about(folder / "model.safetensors")["licence"] == "All rights | mine"
    assert run_srkit("weights", "show", "edsr")[0] == 0, "a pulled folder is as good as a run's"


def test_pushed_and_pulled_is_the_same(run_srkit, hub, trained, photo, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for _ in range(2):  # the second time the repository is there
        code, out, err = run_srkit("weights", "push", trained, "anna/edsr-tiny")
        assert (code, err) == (0, FOR_OPENMODELDB)
        assert out == f"{hub.url}/anna/edsr-tiny\nuse:  srkit upscale PHOTO --model anna/edsr-tiny\n"
    files = hub.repositories["anna/edsr-tiny"]
    assert sorted(files) == ["2x-edsr-tiny.json", "README.md", "model.safetensors", "run.toml"]
    (resource,) = json.loads(files["2x-edsr-tiny.json"])["resources"]
    assert resource["urls"] == [f"{hub.url}/anna/edsr-tiny/resolve/main/model.safetensors"]
    assert resource["sha256"] == hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert resource["size"] == len(files["model.safetensors"])
    assert (hub.commits, hub.unknown, hub.private) == (2, [], set())
    assert hub.cards[-1] == files["README.md"].decode()

    monkeypatch.delenv("HF_TOKEN")
    code, out, err = run_srkit("weights", "pull", "anna/edsr-tiny", "-o", "mine")
    assert (code, err) == (0, "")
    pulled = {path.name: path.read_bytes() for path in Path("mine").iterdir()}
    assert pulled == {name: data for name, data in files.items() if not name.endswith(".json")}
    assert "srkit upscale PHOTO --model mine" in out
    assert run_srkit("weights", "pull", "hf:anna/edsr-tiny")[0] == 0

    Image.fromarray(photo[:30, :41]).save("p.png")
    pictures = []
    for word in ("anna/edsr-tiny", "hf:anna/edsr-tiny", "mine", trained):
        assert run_srkit("upscale", "p.png", "--model", word, "-o", "large.png")[0] == 0
        pictures.append(Path("large.png").read_bytes())
    assert pictures[0] == pictures[1] == pictures[2] == pictures[3]
    assert srkit.load("anna/edsr-tiny").parameters == 1259
    tensors, _ = find_tensors(srkit.load_plugins(), "anna/edsr-tiny", 2)
    assert torch.equal(tensors["head.0.weight"], read_tensors(trained / "best.safetensors")["head.0.weight"])


def test_what_is_here_wins_over_the_hub(run_srkit, hub, trained):
    hub.repositories["anna/edsr"] = {"model.safetensors": b"theirs"}
    Path("anna").mkdir()
    code, _, err = run_srkit("weights", "show", "anna/edsr")
    assert (code, err) == (2, f"srkit: no checkpoint 'anna/edsr' (looked in '{Path('anna').absolute()}')\n")
    Path("anna/edsr").symlink_to(trained)
    assert run_srkit("weights", "show", "anna/edsr")[0] == 0
    code, _, err = run_srkit("weights", "show", "hf:anna/edsr")
    assert code == 1
    assert "model.safetensors' holds no tensors that can be read safely" in err


def test_a_hub_that_has_it_not_or_gives_it_not(run_srkit, hub):
    hub.repositories["anna/pickles"] = {"pytorch_model.bin": b"no", "edsr.pt": b"no"}
    hub.repositories["anna/private"] = hub.repositories["anna/gated"] = {"model.safetensors": b"no"}
    hub.private.add("anna/private")
    hub.gated.add("anna/gated")
    said = {
        "anna/none": (2, f"no file, folder or model 'anna/none' here, and no repository {hub.url}/anna/none"),
        "anna/private": (2, "if it is private, log in with 'hf auth login' or set HF_TOKEN"),
        "anna/gated": (1, f"'anna/gated' is given on request: ask at {hub.url}/anna/gated"),
        "anna/pickles": (1, "anna/pickles has no model.safetensors; srkit loads nothing else from a hub"),
        "hf:anna": (2, "'anna' is not a repository; write owner/name"),
        "hf:anna/../x": (2, "is not a repository; write owner/name"),
    }
    for word, (expected, words) in said.items():
        code, _, err = run_srkit("weights", "pull", word)
        assert code == expected, word
        assert words in err
        assert err.count("\n") == 1
    with pytest.raises(UnknownName, match="no repository"):
        srkit.load("anna/none")


@pytest.mark.parametrize("how", ["HF_HUB_OFFLINE", "nobody answers"])
def test_without_a_connection_what_is_in_the_cache_is_used(run_srkit, hub, trained, monkeypatch, how):
    hub.repositories["anna/edsr"] = {"model.safetensors": (trained / "best.safetensors").read_bytes()}
    assert run_srkit("weights", "pull", "anna/edsr")[0] == 0
    if how == "HF_HUB_OFFLINE":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert run_srkit("weights", "pull", "anna/edsr")[0] == 0
    code, _, err = run_srkit("weights", "pull", "anna/other")
    assert code == 1
    assert "'anna/other' is neither here nor in the hub's cache, and http://127.0.0.1:" in err
    assert err.count("\n") == 1


def test_pushing_wants_a_token_that_may(run_srkit, hub, trained, monkeypatch):
    code, _, err = run_srkit("weights", "push", trained, "anna/edsr")
    assert (code, err.count("\n")) == (2, 1)
    assert f"no token for {hub.url}: log in with 'hf auth login' or set HF_TOKEN" in err
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    code, _, err = run_srkit("weights", "push", trained, "anna/edsr")
    assert (code, err.count("\n")) == (1, 1)
    assert "anna/edsr cannot be written: 401 Unauthorized: Invalid username or password" in err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code, _, err = run_srkit("weights", "push", trained, "bob/edsr")
    assert (code, err.count("\n")) == (1, 1)
    assert "bob/edsr cannot be written: 403 Forbidden: You may not write to bob" in err
    assert not hub.repositories
    assert run_srkit("weights", "push", trained, "anna/edsr", "--private")[0] == 0
    assert hub.private == {"anna/edsr"}
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, _, err = run_srkit("weights", "push", trained, "anna/edsr")
    assert (code, err.count("\n")) == (1, 1)
    assert "http://127.0.0.1:9/anna/edsr cannot be written" in err


PLUGIN = """
from srkit import Model, Weights, hookimpl, load_plugins

@hookimpl
def srkit_models():
    from srkit_builtin import srkit_models
    edsr = next(model for model in srkit_models() if model.name == "edsr")
    claims = {"set5 y psnr": 37.0}
    weights = [Weights(scale=2, url="URL", sha256="SHA", preset="far-small", licence="CC0", claims=claims)]
    return [Model(name="far", build=edsr.build, scales=(2, 3), presets={"far-small": {"n_resblocks": 1, "n_feats": 4}},
                  weights=weights, layouts=edsr.layouts, receptive_field=edsr.receptive_field)]
"""


@pytest.fixture
def far(install, server, registry):
    """A plugin whose weights are at an address, as a stranger's file. Their bytes."""
    torch.save(small(registry).state_dict(), "e.pt")
    convert(registry, Path("e.pt"), Path("far.pth"))  # test_convert.py holds that this is BasicSR's layout
    data = Path("far.pth").read_bytes()
    Path("far.pth").unlink()
    server.files["w/far.pth"] = data
    install(
        "srkit-far", PLUGIN.replace("URL", f"{server.url}/w/far.pth").replace("SHA", hashlib.sha256(data).hexdigest())
    )
    return data


def test_weights_at_an_address_are_fetched_once_compared_and_kept(run_srkit, server, far, photo, monkeypatch):
    monkeypatch.setenv("SRKIT_CACHE", str(Path("own-cache").absolute()))
    Image.fromarray(photo[:30, :41]).save("p.png")
    _, out, _ = run_srkit("weights", "show", "far-small")
    assert "not downloaded yet" in out
    assert f"{server.url}/w/far.pth" in out
    assert "set5 y psnr=37.0" in out
    assert not server.seen
    for _ in range(2):
        code, _, err = run_srkit("upscale", "p.png", "--model", "far-small")
        assert code == 0, err
        assert len(server.seen) == 1
    (kept,) = Path("own-cache/weights").absolute().rglob("*.pth")
    assert kept.read_bytes() == far
    _, out, _ = run_srkit("weights", "show", "far-small")
    assert str(kept) in out
    net = load_model(srkit.load_plugins(), "far-small", 2).net
    expected = small(srkit.load_plugins())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), expected.parameters(), strict=True))
    tensors, where = find_tensors(srkit.load_plugins(), "far-small", 3)  # x3 starts from x2
    assert (where, len(tensors)) == (str(kept), len(expected.state_dict()))
    kept.write_bytes(b"torn")
    assert run_srkit("upscale", "p.png", "--model", "far-small")[0] == 0
    assert kept.read_bytes() == far


def test_another_file_or_no_connection_is_told_with_the_address(run_srkit, server, far, photo, monkeypatch):
    monkeypatch.setenv("SRKIT_CACHE", str(Path("own-cache").absolute()))
    Image.fromarray(photo[:9, :9]).save("p.png")
    server.files["w/far.pth"] = far[:-1] + b"x"
    code, _, err = run_srkit("upscale", "p.png", "--model", "far-small")
    assert (code, err.count("\n")) == (1, 1)
    assert f"'{server.url}/w/far.pth' has the SHA-256" in err
    assert not list(Path("own-cache").rglob("*.pth"))
    server.server_close()
    with pytest.raises(FetchError, match=f"{server.url}/w/far.pth"):
        load_model(srkit.load_plugins(), "far-small", 2)


def test_weights_are_in_one_place_and_pinned():
    with pytest.raises(ValueError, match="either a resource or a url"):
        Weights(scale=2)
    with pytest.raises(ValueError, match="either a resource or a url"):
        Weights(scale=2, resource="a:b", url="https://a.b/c.pth", sha256="0" * 64)
    with pytest.raises(ValueError, match="need a sha256 of 64 hexadecimal digits"):
        Weights(scale=2, url="https://a.b/c.pth")
    for url in ("ftp://a.b/c.pth", "https://a.b", "https://a.b/c.exe", "https://a.b/c.pth?x=1"):
        with pytest.raises(ValueError, match="ends in .safetensors, .pt or .pth"):
            Weights(scale=2, url=url, sha256="0" * 64)


SEVERAL = """
from srkit import Model, Weights, hookimpl

@hookimpl
def srkit_models():
    from srkit_builtin import srkit_models
    mdsr = next(model for model in srkit_models() if model.name == "mdsr")
    return [Model(name="several", build=mdsr.build, multi_scale=True, scales=(2, 3, 4),
                  presets={"several-small": {"n_resblocks": 1, "n_feats": 4}},
                  weights=[Weights(scales=(2, 3, 4), resource="several_weights:w.safetensors", tag="all of them")])]
"""


def test_a_file_of_a_multi_scale_model_serves_its_scales(run_srkit, install, registry, tmp_path, photo, monkeypatch):
    torch.manual_seed(3)
    net = registry.choose("model", "mdsr", {"n_resblocks": 1, "n_feats": 4}).build((2, 3, 4))
    install("srkit-several", SEVERAL)
    package = tmp_path / "several_weights"
    package.mkdir()
    (package / "__init__.py").write_text("")
    options = {"n_resblocks": 1, "n_feats": 4}
    about = {"model": {"name": "srkit-several:several", "version": "1.2", "options": options}, "scales": [2, 3, 4]}
    save_tensors(package / "w.safetensors", dict(net.state_dict()), about)
    monkeypatch.syspath_prepend(str(tmp_path))
    lr = torch.rand(1, 3, 8, 9)
    for scale in (2, 3, 4):
        loaded = load_model(srkit.load_plugins(), "several-small", scale)
        assert loaded.scale == scale
        assert torch.equal(loaded.net(lr, scale), net(lr, scale))
    assert load_model(srkit.load_plugins(), "several-small", None).scale == 2
    _, out, _ = run_srkit("plugins", "show", "several")
    assert "weights several x2, x3, x4 all of them" in out
    _, out, _ = run_srkit("weights", "show", "several-small")
    assert "x2, x3, x4" in out
    Image.fromarray(photo[:10, :12]).save("p.png")
    assert run_srkit("upscale", "p.png", "--model", "several-small", "--scale", "4")[0] == 0
    with Image.open("p_several-small_x4.png") as large:
        assert large.size == (48, 40)
