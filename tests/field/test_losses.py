"""What people met with losses and teachers, from public trackers: one test a complaint."""

import pytest
import torch

from srkit.checkpoint import read_tensors


@pytest.mark.parametrize("ensemble", ["false", "true"])
def test_a_teacher_with_batch_normalisation_teaches_what_it_is_not_what_the_batch_makes_of_it(
    registry, run_srkit, tmp_path, ensemble
):
    """clovaai/overhaul-distillation#37, vrvlive/knowlege-distillation#2: it was left in training mode.

    Right: evaluation mode, its statistics as they were, whatever the student's mode is.
    """
    small = ["--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=2", "--set", "patch=8"]
    words = ["train", "--model", "srresnet", *small, "--device", "cpu", "--steps", "2", "--out", "teacher"]
    assert run_srkit(*words)[0] == 0
    before = read_tensors(tmp_path / "teacher/last.safetensors")
    assert any("running_mean" in name for name in before), "it has batch normalisation"

    options = {"teacher": "teacher/last.safetensors", "ensemble": ensemble == "true"}
    loss = registry.choose("loss", "distillation", options).build()
    loss.prepare((2,), torch.device("cpu"))
    lr = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    together = loss.taught(lr, 2)
    alone = torch.cat([loss.taught(each[None], 2) for each in lr])
    assert torch.allclose(together, alone, atol=1e-6), "a picture's teaching does not depend on its batch"
    assert torch.equal(loss.taught(lr, 2), together)
