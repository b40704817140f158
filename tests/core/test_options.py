"""Options: read off signatures, checked, with the nearest name for a wrong one."""

from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Le

from srkit import OptionError, UnknownName, lazy
from srkit.options import REQUIRED, check, options_of


def build(
    scale: int,
    *,
    width: Annotated[int, Gt(0), "channels"] = 64,
    ratio: Annotated[float, Ge(0), Le(1)] = 0.5,
    mode: Annotated[Literal["fast", "exact"], "how"] = "fast",
    plain=3,
    sizes: list[int] = (),  # type: ignore[assignment]
    path: str | None = None,
):
    return locals()


def test_only_what_stands_after_the_star_is_an_option():
    options = options_of(build)
    assert list(options) == ["width", "ratio", "mode", "plain", "sizes", "path"]
    width = options["width"]
    assert (width.type, width.bound, width.default, width.help) == ("int", "> 0", 64, "channels")
    assert options["ratio"].bound == ">= 0, <= 1"
    assert options["mode"].type == "'fast' | 'exact'"
    assert options["plain"].type == "int"
    assert options["path"].type == "str | None"


def test_classes_and_lazy_builds_are_read_alike():
    assert list(options_of(lazy("srkit_builtin.edsr:EDSR"))) == ["n_resblocks", "n_feats", "res_scale"]
    assert options_of(lazy("torch.nn:L1Loss")) == {}


def test_values_are_converted_and_defaults_filled_in():
    assert check("it", options_of(build), {"width": "32", "sizes": [1, "2"]}) == {
        "width": 32, "ratio": 0.5, "mode": "fast", "plain": 3, "sizes": [1, 2], "path": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 0}, "it: width = 0: input should be greater than 0"),
        ({"width": "wide"}, "it: width = 'wide'"),
        ({"ratio": 2}, "it: ratio = 2: input should be less than or equal to 1"),
        ({"mode": "exakt"}, "did you mean 'exact'?"),
        ({"plain": "x"}, "it: plain = 'x'"),
    ],
)
def test_a_wrong_value_is_named(values, words):
    with pytest.raises(OptionError) as error:
        check("it", options_of(build), values)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_option_gets_the_nearest():
    with pytest.raises(UnknownName, match="it has no option 'widht'; did you mean 'width'?"):
        check("it", options_of(build), {"widht": 3})


def test_an_option_without_default_must_be_given():
    def needy(*, root: Annotated[str, "where it is"]): ...

    assert options_of(needy)["root"].default is REQUIRED
    with pytest.raises(OptionError, match="it needs a value for 'root' .str.: where it is"):
        check("it", options_of(needy), {})
