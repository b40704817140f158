"""What a word for data means: a folder of pictures, or the name of a dataset."""

from pathlib import Path
from typing import Any

from srkit import defaults
from srkit.errors import UnknownName, did_you_mean, missing_path
from srkit.plugins import Choice, Registry


def set_named(registry: Registry, word: str, root: Path | None) -> tuple[str, Choice, Path | None]:
    """(name, dataset, root) of a set the user asked for: a dataset, or a folder of pictures."""
    if Path(word).expanduser().is_dir():
        return Path(word).name, registry.choose("dataset", defaults.FOLDER), Path(word)
    choice = registry.choose("dataset", word)
    choice.build(root, "test", 2)  # raises an error with advice if the pictures are missing
    return choice.label, choice, root


def data_table(registry: Registry, word: str) -> dict[str, Any]:
    """The run file's table for `word`: a folder if it exists, else a dataset's name. UnknownName for neither."""
    if Path(word).expanduser().is_dir():
        return {"name": defaults.FOLDER, "root": word}
    try:
        registry.find("dataset", word)
    except UnknownName:
        if "/" in word or "\\" in word or "." in word:
            raise missing_path(Path(word), "folder") from None
        folders = [path.name for path in Path().iterdir() if path.is_dir()]
        near = did_you_mean(word, [*folders, *(entry.component.name for entry in registry.of("dataset"))])
        raise UnknownName(f"'{word}' is neither a folder nor a dataset{near}") from None
    return {"name": word}
