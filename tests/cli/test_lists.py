"""A list has one grammar in every command: commas, repeats, or both; a path with a comma in its name stays whole."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from PIL import Image

from srkit.cli import app
from srkit.cli.choose import words

OTHER_GRAMMAR = {
    "--set": "a line of TOML, whose values have commas of their own",
    "bench --images": "a name and the path of a folder, which may have commas: NAME=DIR",
    "bench --require": "an expression: edsr-small:set5:x2:psnr>=37.2",
    "plugins install packages": "what pip is told, whose versions have commas: name>=1,<2",
}
#: each list -> the rest of the command line, where * is the list; two right words and a wrong one; what is said of that
LISTS = {
    "upscale photos": ("* --model bicubic", "a.png b.png c.png", "no picture 'c.png'"),
    "upscale --wrapper": ("a.png --model bicubic *", "self-ensemble self-ensemble x8", "no wrapper called 'x8'"),
    "bench checkpoints": ("* --sets samples", "bicubic nearest ./c.pth", "no checkpoint 'c.pth'"),
    "bench --models": ("*", "bicubic nearest linear", "no model called 'linear'"),
    "bench --sets": ("--models bicubic *", "samples . set55", "no dataset called 'set55'"),
    "bench --scales": ("--models bicubic *", "2 x3 two", "'two' is not a scale"),
    "bench --metrics": ("--models bicubic *", "psnr ssim psrn", "no metric called 'psrn'"),
    "bench --lr-only": ("--scales 2 --metrics psnr *", ". . nowhere", "no folder 'nowhere'"),
    "bench --cost-sizes": ("--models bicubic *", "640x480 1280x720 two", "'two' is not the size"),
    "bench --wrapper": (
        "--models bicubic --sets samples *",
        "self-ensemble self-ensemble x8",
        "no wrapper called 'x8'",
    ),
    "try --models": ("a.png *", "bicubic nearest linear", "no model called 'linear'"),
    "sweep --vary": ("*", "l1 l2 l3", "no loss called 'l3'"),
    "gallery models": ("*", "bicubic nearest linear", "no model called 'linear'"),
    "plugins uninstall packages": ("*", "srkit-a srkit-b srkit", "srkit itself is not a plugin"),
    "weights push --tags": (
        "m.safetensors anna/m *",
        "photo jpeg Two_Words",
        "'Two_Words' is not a tag of OpenModelDB",
    ),
    "data fetch --scale": ("div2k *", "2 x3 two", "'two' is not a scale"),
    "data check --against": ("samples *", "samples . set55", "'set55' is neither a folder nor a dataset"),
    "data degrade --degradation": ("samples -o pairs *", "blur noise nosie", "no degradation called 'nosie'"),
    "data copies --factor": ("samples -o copies *", "0.7 0.5 half", "'half' is not a factor"),
    "data tile --scale": ("samples -o tiles *", "2 x3 two", "'two' is not a scale"),
    "data select --limit": (
        "samples --list k *",
        "jpeg=70 laplacian=1 sharp=1",
        "no figure and no metric called 'sharp'",
    ),
    "data preview --degradation": ("samples *", "blur noise nosie", "no degradation called 'nosie'"),
    "data preview --augmentation": ("samples *", "dihedral mixup mixdown", "no augmentation called 'mixdown'"),
}


def lists(command: Any, path: str = "") -> Iterator[str]:
    """`command --option` or `command argument` for each list of a command and of the commands below it."""
    for parameter in command.params:
        if getattr(parameter, "multiple", False) or parameter.nargs == -1:
            yield f"{path} {parameter.opts[0]}"
    for name, child in getattr(command, "commands", {}).items():
        yield from lists(child, f"{path} {name}".strip())


def test_each_list_of_each_command_is_tested_here_or_has_a_reason_not_to():
    found = {name for name in lists(typer.main.get_command(app)) if not name.endswith(" --set")}
    assert found - set(OTHER_GRAMMAR) == set(LISTS)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("form", ["commas", "repeats", "both"])
def test_commas_and_repeats_mean_the_same(run_srkit, tmp_path, photo, name, form):
    for file in ("a.png", "b.png"):
        Image.fromarray(photo[:20, :20]).save(tmp_path / file)
    rest, given, told = LISTS[name]
    one, two, wrong = given.split()
    values = {"commas": [f"{one},{two},{wrong}"], "repeats": [one, two, wrong], "both": [one, f"{two}, {wrong}"]}[form]
    *command, option = name.split()
    if option == "--vary":
        values = [f"loss={value}" for value in values]
    spelled = [part for value in values for part in ([option, value] if option.startswith("--") else [value])]
    line = [part for word in rest.split() for part in (spelled if word == "*" else [word])]
    code, out, err = run_srkit(*command, *line)
    assert code == 2
    assert told in err
    assert out == ""


@pytest.mark.parametrize("command", ["upscale", "gallery", "plugins uninstall"])
def test_a_list_of_nothing_is_refused(run_srkit, command):
    code, _, err = run_srkit(*command.split(), ",")
    assert code == 2
    assert "is named in ','" in err


def test_the_name_of_a_file_keeps_its_commas(run_srkit, tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo[:20, :20]).save(tmp_path / "Ulm, 2019.png")
    (tmp_path / "loss=l1,lr=1e-3").mkdir()
    assert words(["Ulm, 2019.png", "loss=l1,lr=1e-3", "a, b"]) == ["Ulm, 2019.png", "loss=l1,lr=1e-3", "a", "b"]
    code, out, _ = run_srkit("upscale", "Ulm, 2019.png", "--model", "bicubic")
    assert code == 0
    assert out.startswith("Ulm, 2019_bicubic_x2.png")
