"""batch = "auto": found by trying, with a stand-in for the memory of a GPU."""

from types import SimpleNamespace

import pytest
import torch

from srkit import Run, SrkitError, UsageError
from srkit.run import read_run_file
from srkit.train.distributed import World
from srkit.train.memory import batch_that_fits

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


def memory_of(registry, patches):
    """(assembled, tried): trainings on `meta` whose memory holds so many patches, and what was tried."""
    tried = []

    def criterion(sr, hr, **offered):
        tried.append(len(sr))
        if len(sr) > patches:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (sr - hr).abs().mean()

    criterion.update = lambda sr, hr: tried.append("update")
    model = registry.choose("model", "srresnet", {"n_resblocks": 1, "n_feats": 4})

    def assembled(run):
        net = model.build(2).to("meta")
        optimizer = SimpleNamespace(step=lambda: tried.append("step"))
        device = torch.device("meta")
        return SimpleNamespace(run=run, device=device, net=net, model=model, criterion=criterion, optimizer=optimizer)

    return assembled, tried


@pytest.mark.parametrize(
    ("patches", "batch", "tried"),
    [
        (40, 32, [1, 2, 4, 9, 18, 36, 72, 54]),  # an eighth is to spare
        (60, 48, [1, 2, 4, 9, 18, 36, 72, 54]),
        (1, 1, [1, 2]),
        (10**6, 1024, [1, 2, 4, 9, 18, 36, 72, 144, 288, 576, 1152]),
    ],
)
def test_the_largest_batch_is_found_by_doubling(registry, patches, batch, tried):
    assembled, seen = memory_of(registry, patches)
    assert batch_that_fits(Run(batch="auto", precision="fp32"), CUDA, World(), assembled) == batch
    assert [each for each in seen if isinstance(each, int)] == tried
    assert seen[:3] == [1, "step", "update"], "a whole step is tried"


def test_parts_and_ranks_share_it(registry):
    run = Run(batch="auto", precision="fp32", accumulate=3)
    ranks = SimpleNamespace(size=2, collect=lambda mine: [mine, 6])  # the other one has less memory
    assert batch_that_fits(run, CUDA, ranks, memory_of(registry, 40)[0]) == 6 * 3 * 2


def test_it_is_for_gpus_and_wants_room_for_a_patch(registry):
    run = Run(batch="auto", precision="fp32")
    with pytest.raises(SrkitError, match="not one patch of 48 fits on cuda; lower patch"):
        batch_that_fits(run, CUDA, World(), memory_of(registry, 0)[0])
    with pytest.raises(
        UsageError, match=r"tries out what fits on a GPU, and this is cpu: give a number, as in --batch"
    ):
        batch_that_fits(run, torch.device("cpu"), World(), memory_of(registry, 9)[0])
    with pytest.raises(UsageError, match="is not known before a training begins"):
        print(run.patches)


def test_what_was_found_is_written_into_the_run(run_srkit, monkeypatch, tmp_path):
    words = ["--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "patch=12", "--set", "steps=1"]
    words = ["train", "--model", "edsr", *words, "--batch", "auto", "--device", "cpu", "--out", "run"]
    code, _, err = run_srkit(*words)
    assert (code, "this is cpu: give a number, as in --batch 16" in err) == (2, True), err
    assert not (tmp_path / "run").exists()
    asked = []
    monkeypatch.setattr("srkit.train.session.batch_that_fits", lambda run, *args: asked.append(run.batch) or 3)
    code, _, err = run_srkit(*words)
    assert code == 0, err
    assert asked == ["auto"]
    assert "batch = 3: as many patches of 12 as fit" in err
    assert read_run_file(tmp_path / "run/run.toml")["batch"] == 3
    code, _, err = run_srkit(*words[:-6], "--batch", "many", "--device", "cpu", "--out", "no")
    assert (code, "batch" in err, "Traceback" in err) == (2, True, False), err
