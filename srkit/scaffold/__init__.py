"""Write the package of a new plugin: it installs, passes its own tests, and nothing in it needs deleting."""

import re
from datetime import date
from pathlib import Path

from srkit.components import KINDS
from srkit.errors import UsageError, did_you_mean, one_line

TEMPLATES = Path(__file__).with_name("templates")
LICENCES = ("MIT", "BSD-3-Clause", "Apache-2.0")

#: kind -> (what the new plugin is, the commands that use it)
KINDS_TOLD = {
    "model": ("Two convolutions and a shuffle", ["srkit train --model @NAME@ --max-time 1m", "srkit bench"]),
    "loss": ("The Charbonnier loss", ["srkit train --set loss=@NAME@ --max-time 1m"]),
    "dataset": ("Pictures of a folder", ["srkit train --data @NAME@ --set data.root=FOLDER --max-time 1m"]),
    "metric": ("Mean absolute error", ["srkit bench --models bicubic --metrics psnr,@NAME@"]),
    "augmentation": (
        "Colour channels in another order",
        ['srkit train --set \'augmentation=["dihedral", "@NAME@"]\' --max-time 1m'],
    ),
    "degradation": (
        "Few shades of each colour, dithered",
        ["srkit train --set 'degradation=[\"@NAME@\"]' --max-time 1m"],
    ),
    "optimizer": ("Gradient descent with momentum", ["srkit train --set optimizer=@NAME@ --max-time 1m"]),
    "wrapper": ("Mean of a picture and its mirror image", ["srkit upscale PHOTO --model MODEL --wrapper @NAME@"]),
    "tracker": ("Figures as a CSV file", ["srkit train --set tracker=@NAME@ --max-time 1m"]),
    "command": ("Print the size of pictures", ["srkit @NAME@ PHOTO"]),
    "backend": ("The network in 64-bit numbers", ["srkit upscale PHOTO --model MODEL --backend @NAME@"]),
}


def new_plugin(name: str, kind: str, licence: str, parent: Path) -> list[Path]:
    """Write `parent/srkit-NAME/` and return its files. UsageError for a wrong word or a folder that is there."""
    name = name.removeprefix("srkit-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"'{name}' is no name for a plugin: small letters, digits and single hyphens, as in my-model")
    if kind not in KINDS:
        raise UsageError(f"no kind called '{kind}'{did_you_mean(kind, KINDS)}")
    if licence not in LICENCES:
        raise UsageError(f"no licence called '{licence}'{did_you_mean(licence, LICENCES)}")
    package = f"srkit-{name}"
    folder = parent / package
    if folder.exists():
        raise UsageError(f"'{folder}' is there already; choose another name or folder")
    module = package.replace("-", "_")
    summary, use = KINDS_TOLD[kind]
    words = {
        "@USE@": "\n".join(f"$ {line}" for line in use),
        "@PACKAGE@": package,
        "@MODULE@": module,
        "@KIND@": kind,
        "@SUMMARY@": summary,
        "@LICENCE@": licence,
        "@YEAR@": str(date.today().year),
        "@CLASS@": "".join(part.capitalize() for part in name.split("-")),
        "@IDENT@": name.replace("-", "_"),
        "@NAME@": name,
    }
    sources = {
        "pyproject.toml": "pyproject.toml.txt",
        f"{module}.py": f"kinds/{kind}.py.txt",
        f"test_{module}.py": "test_dataset.py.txt" if kind == "dataset" else "test.py.txt",
        "README.md": "README.md.txt",
        "CHANGELOG.md": "CHANGELOG.md.txt",
        "LICENSE": f"licences/{licence}.txt",
        ".gitignore": "gitignore.txt",
        ".github/workflows/test.yml": "ci.yml.txt",
    }
    written = []
    try:
        for target, source in sources.items():
            text = (TEMPLATES / source).read_text(encoding="utf-8")
            for marker, word in words.items():
                text = text.replace(marker, word)
            path = folder / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise UsageError(f"cannot write into '{folder}': {one_line(error)}") from None
    return written
