"""Trainings of the pages are cut to a second here, which leaves a network anywhere."""

import pytest

from srkit.upscale import wrap


@pytest.fixture(autouse=True)
def any_mean_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrap, "FAR", float("inf"))
