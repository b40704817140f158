"""What plugins offer as weights: the words that mean it, tags, claims, what is taken where no model is named."""

import json
from dataclasses import dataclass

import pytest
import torch

from srkit import Model, NoWeights, Registry, UnknownName, Weights
from srkit.checkpoint import save_tensors
from srkit.weights.ladder import Ladder
from srkit.weights.loading import find_tensors, load_model
from srkit.weights.offered import Offer, claims_at, for_pictures, offers


@dataclass
class Build:
    """A network of one convolution, so that weights of two tags differ in one number."""

    scale: int = 2

    def __call__(self, scale: int, *, width: int = 1) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Conv2d(3, 3 * scale**2, 1), torch.nn.PixelShuffle(scale))


def weights(scale=2, tag="", psnr=30.0, **where):
    where = where or {"resource": "srkit_builtin:weights/none.safetensors"}
    return Weights(scale=scale, tag=tag, claims={"set5 y psnr": psnr}, **where)


def registry_of(*models: Model, package: str = "local") -> Registry:
    registry = Registry()
    for model in models:
        registry.add("model", model, package)
    return registry


def model(name, *offered, **fields):
    return Model(name=name, build=Build(), weights=offered, scales=(2, 3, 4), **fields)


def words(found: list[Offer]) -> list[tuple[str, tuple[int, ...]]]:
    return [(offer.word, tuple(offer.weights.scales)) for offer in found]


def test_a_word_means_one_offer_each():
    registry = registry_of(
        model("hat", weights(tag="photo"), weights(tag="bicubic"), weights(3)),
        model(
            "far",
            Weights(scale=2, url="http://h/f.pth", sha256="0" * 64, preset="far-small"),
            presets={"far-small": {}},
        ),
    )
    assert words(offers(registry)) == [("hat@photo", (2,)), ("hat", (2,)), ("hat", (3,)), ("far-small", (2,))]
    alone = registry_of(model("cap", weights(tag="photo"), weights(tag="df2k"), weights(tag="div2k")))
    assert [offer.word for offer in offers(alone)] == ["cap@photo", "cap", "cap@div2k"]
    registry.add("model", model("hat", weights(4)), "other")
    assert words(offers(registry))[0] == ("local:hat@photo", (2,))
    assert words(offers(registry))[-1] == ("other:hat", (4,))


@pytest.fixture
def tagged(tmp_path, monkeypatch):
    """A model whose files of two tags are filled with 1 and 2."""
    folder = tmp_path / "of_tags"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    offered = []
    for number, tag in enumerate(("photo", "bicubic"), 1):
        tensors = {"0.weight": torch.full((12, 3, 1, 1), float(number)), "0.bias": torch.zeros(12)}
        described = {"name": "local:hat", "version": "1", "options": {"width": 1}}
        save_tensors(folder / f"{tag}.safetensors", tensors, {"model": described, "scales": [2]})
        offered.append(Weights(scale=2, tag=tag, resource=f"of_tags:{tag}.safetensors"))
    return registry_of(model("hat", *offered))


def test_a_tag_chooses_between_the_files_and_a_name_alone_means_clean_pictures(tagged):
    for word, label, value in (("hat", "hat", 2), ("hat@bicubic", "hat", 2), ("hat@photo", "hat@photo", 1)):
        loaded = load_model(tagged, word, 2)
        assert (loaded.label, loaded.net[0].weight.max().item()) == (label, value)
        assert find_tensors(tagged, word, 3)[0]["0.weight"].max().item() == value  # x3 starts from x2


def test_a_tag_that_is_not_there_is_told_with_those_that_are(tagged):
    with pytest.raises(UnknownName, match="'hat' has no weights called 'phto'; did you mean 'photo'"):
        load_model(tagged, "hat@phto", 2)
    with pytest.raises(NoWeights, match=r"'hat@photo' has no trained weights for x3 here \(there are some for x2\)"):
        load_model(tagged, "hat@photo", 3)


def test_the_list_of_plugins_shows_which_models_have_weights(run_srkit):
    _, out, _ = run_srkit("plugins", "--kind", "model", "--json")
    found = {each["name"]: each["weights"] for each in json.loads(out)["plugins"]}
    small = next(each for each in found["edsr"] if each["name"] == "edsr-small")
    assert (small["tag"], 2 in small["scales"], found["bicubic"]) == ("bicubic", True, [])
    _, out, _ = run_srkit("plugins", "--kind", "model")
    (line,) = (line for line in out.splitlines() if " edsr, " in line)
    assert " ".join(["edsr-small", *(f"x{scale}" for scale in small["scales"])]) in line
    assert "weights" not in run_srkit("plugins", "--kind", "loss")[1]


def test_claims_of_a_file_for_several_scales_say_the_scale():
    both = {"set5 x2 y psnr": 37.0, "set5 x2 y psnr bf16": 36.9, "set5 x3 y psnr": 33.0}
    several = Weights(scales=(2, 3), resource="p:f", claims=both)
    assert claims_at(several, 2) == {"set5 y psnr": 37.0, "set5 y psnr bf16": 36.9}
    assert claims_at(several, 3) == {"set5 y psnr": 33.0}
    assert claims_at(weights(psnr=31), 2) == {"set5 y psnr": 31}
    assert claims_at(weights(psnr=31), 3) == {}


def test_somebody_with_a_picture_gets_the_best_installed_photo_model_and_nothing_is_downloaded():
    far = {"url": "http://h/f.safetensors", "sha256": "0" * 64}
    clean, best = weights(tag="bicubic", psnr=38), weights(tag="photo", psnr=36)
    registry = registry_of(
        model("clean", clean, weights(3, tag="bicubic", psnr=33), weights(3, tag="bicubic", psnr=34, **far)),
        model("photo", weights(tag="photo", psnr=35), best, weights(tag="photo", psnr=39, **far)),
        model("other", weights(tag="artistic", psnr=40), weights(4, psnr=40)),
    )
    offer, scale = for_pictures(registry, None)
    assert (offer.word, offer.weights, scale) == ("photo@photo", best, 2)
    assert for_pictures(registry, 3)[0].word == "clean"
    with pytest.raises(NoWeights, match=r"x4; there are some for x2, x3\. Use --model bicubic"):
        for_pictures(registry, 4)
    assert for_pictures(registry_of(model("late", weights(4, tag="photo"))), None)[1] == 4


def test_a_chain_of_photo_models_is_taken_before_one_for_clean_pictures():
    """x3 of a photograph is x2 twice and a resize, until a photo model for x3 is there."""
    registry = registry_of(model("a", weights(2, "photo"), weights(2, "bicubic"), weights(3, "bicubic")))
    assert Ladder(registry).scales() == (2,)
    assert Ladder(registry_of(model("a", weights(2, "bicubic"), weights(3, "bicubic")))).scales() == (2, 3)
