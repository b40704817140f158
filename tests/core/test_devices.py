"""Lines that depend on the device, each with a stand-in for the device that is not here: mps, cuda, ranks on GPUs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from srkit import Run, UsageError, imresize, imresize_torch
from srkit.cli import doctor
from srkit.data.sampler import Sampler, stays
from srkit.nets import native_precision, out_of_memory, pick_device, precision_on
from srkit.train import distributed
from srkit.train.distributed import World
from srkit.train.loop import Criterion, on_its_way
from srkit.train.memory import out_of_memory_told

MPS, CUDA = torch.device("mps"), torch.device("cuda")


class Elsewhere:
    """A tensor that says it is on another device, and gives its values only to the CPU."""

    def __init__(self, tensor: torch.Tensor, device: torch.device):
        self.tensor, self.dtype, self.device = tensor, tensor.dtype, device

    def cpu(self) -> torch.Tensor:
        return self.tensor


@pytest.fixture
def moves(monkeypatch):
    """Where tensors are sent, which then stay where they are."""
    sent = []
    real = torch.Tensor.to

    def to(tensor, *args, **words):
        device = args[0] if args and isinstance(args[0], torch.device) else words.get("device")
        if device is not None and device.type != "cpu":
            sent.append((device.type, words.get("non_blocking", False)))
            return tensor
        return real(tensor, *args, **words)

    monkeypatch.setattr(torch.Tensor, "to", to)
    return sent


@pytest.mark.parametrize("found", [None, MPS, CUDA])
def test_auto_is_the_accelerator_where_there_is_one(monkeypatch, found):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    assert pick_device("auto") == (found or torch.device("cpu"))
    assert pick_device("cpu") == torch.device("cpu")
    if found is not None:
        assert pick_device(found.type) == found
    with pytest.raises(UsageError, match=f"no 'xpu'; there is {found.type if found else 'only cpu'}"):
        pick_device("xpu")
    with pytest.raises(UsageError, match="no device called 'gpu'"):
        pick_device("gpu")


@pytest.mark.parametrize("scale", [0.5, 3])
def test_the_exact_resize_runs_on_the_cpu_where_the_device_has_no_float64(moves, photo, scale):
    pixels = photo[:24, :30]
    lr = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    got = imresize_torch(Elsewhere(lr, MPS), scale)
    np.testing.assert_array_equal(got[0].permute(1, 2, 0).numpy(), imresize(pixels, scale))
    assert moves == [("mps", False)], "the result goes back to where the pixels were"


def test_bicubic_needs_float64_on_no_device_but_the_cpu(registry, monkeypatch):
    """The floor of every table on a Mac: its pixels are sent to the CPU as uint8, before anything is float64."""
    seen = []

    def record(pixels, *args, **words):
        seen.append(pixels.dtype)
        return imresize_torch(pixels, *args, **words)

    monkeypatch.setattr("srkit_builtin.interpolation.imresize_torch", record)
    sr = registry.choose("model", "bicubic").build(2)(torch.rand(1, 3, 4, 5))
    assert seen == [torch.uint8]
    assert sr.dtype == torch.float32


def test_patches_are_pinned_for_cuda_alone(moves, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    patches = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    for device, expected in ((MPS, 0), (CUDA, 1)):
        Sampler.moved(SimpleNamespace(device=device), patches)
        assert len(pinned) == expected
    assert moves == [("mps", True), ("cuda", True)]
    assert Sampler.moved(SimpleNamespace(device=torch.device("cpu")), patches) is patches


def test_pixels_stay_on_a_gpu_where_they_fit(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    assert stays(100, CUDA, "auto")
    assert not stays(990, CUDA, "auto")
    assert not stays(100, CUDA, "no")
    assert stays(990, CUDA, "yes")
    with pytest.raises(UsageError, match="--resident yes"):
        stays(1000, CUDA, "yes")
    assert not stays(100, MPS, "auto")
    assert stays(100, MPS, "yes")


def test_flags_come_from_cuda_while_it_goes_on_working(monkeypatch):
    """Copied into pinned memory without a wait; the wait is for the event alone, when the flags are asked for."""
    calls = []

    class Event:
        def record(self):
            calls.append("record")

        def synchronize(self):
            calls.append("synchronize")

    real = torch.empty

    def empty(shape, *, dtype, pin_memory):
        calls.append(f"pinned={pin_memory}")
        return real(shape, dtype=dtype)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch, "empty", empty)
    flags = torch.tensor([True, False])
    monkeypatch.setattr(torch.Tensor, "copy_", lambda host, source, non_blocking: host.set_(flags.clone()))
    read = on_its_way(SimpleNamespace(device=CUDA, shape=flags.shape, dtype=flags.dtype))
    assert calls == ["pinned=True", "record"]
    assert read() == [True, False]
    assert calls[-1] == "synchronize"


def test_flags_on_any_other_device_are_read_when_asked_for():
    assert on_its_way(SimpleNamespace(device=MPS, tolist=lambda: [True, False]))() == [True, False]


def test_memory_that_runs_out_is_known_on_every_device():
    on_a_cpu = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
    for error in (torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), on_a_cpu):
        assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("a shape does not fit"))


def test_a_batch_that_fits_is_found_by_trying_on_the_device(registry, monkeypatch):
    """On `meta`, where tensors have no values; the criterion stands in for the memory, which holds four patches."""
    emptied, tried = [], []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))

    def criterion(sr, hr, **offered):
        assert sr.device.type == hr.device.type == "meta"
        tried.append(len(sr))
        if len(sr) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (sr - hr).abs().mean()

    run = Run(batch=16, patch=48)
    model = registry.choose("model", "srresnet", {"n_resblocks": 1, "n_feats": 4})
    net, device = model.build(2).to("meta"), torch.device("meta")
    trainee = SimpleNamespace(run=run, device=device, net=net, model=model, criterion=criterion)
    told = out_of_memory_told(trainee, World())
    assert (
        told
        == "out of memory with batch=16, patch=48; --set batch=4 fits, --set accumulate=4 does with the same result"
    )
    assert (tried, len(emptied)) == ([8, 4], 2)


@pytest.mark.parametrize(("device", "backend"), [(torch.device("cuda", 1), "nccl"), (torch.device("cpu"), "gloo")])
def test_ranks_on_gpus_speak_nccl_each_on_its_own_card(monkeypatch, device, backend):
    began, cards = {}, []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "set_device", cards.append)
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda b, **words: began.update(backend=b, **words))
    monkeypatch.setattr(distributed, "rendezvous", lambda address, **words: iter([("a store", 1, 2)]))
    monkeypatch.setattr(distributed.dist, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: None)
    given = []
    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda net, **words: given.append(words) or net)
    with distributed.joined(device) as world:
        world.share(torch.nn.Identity(), several_paths=False, device=device)
    gpu = device.type == "cuda"
    assert (world.rank, world.size, world.local) == (1, 2, 1)
    assert began["backend"] == backend
    assert began["device_id"] == (device if gpu else None)
    assert cards == ([device] if gpu else [])
    assert given == [{"device_ids": [device] if gpu else None, "find_unused_parameters": False}]
    assert distributed.own_device(CUDA) == torch.device("cuda", 1)
    assert distributed.own_device(torch.device("cpu")) == torch.device("cpu")


def test_ranks_that_another_program_has_joined_are_taken_and_left(monkeypatch, tmp_path):
    """As Ray Train leaves them: a second group at the same port would meet the first one's store."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    distributed.dist.init_process_group("gloo", init_method=(tmp_path / "store").as_uri(), rank=0, world_size=1)
    try:
        with distributed.joined(torch.device("cpu")) as world:
            assert (world.rank, world.size, world.local) == (0, 1, 0)
        assert distributed.dist.is_initialized()
    finally:
        distributed.dist.destroy_process_group()


def test_what_learns_is_alike_on_every_rank(monkeypatch):
    """On a GPU each rank's own sums would drift apart; here the first rank's values are all 7."""
    monkeypatch.setattr(distributed.dist, "broadcast", lambda tensor, source: tensor.fill_(7 + source))
    learns = torch.nn.Conv2d(3, 2, 1)
    learns.update = lambda sr, hr: None
    learns.get_extra_state = lambda: {"optimizer": {}}
    criterion = Criterion([torch.nn.L1Loss(), learns], [1.0, 1.0])
    learns.weight.data = learns.weight.data.to(memory_format=torch.channels_last)
    World(rank=1, size=2).alike(criterion.learnt())
    assert all(bool((tensor == 7).all()) for tensor in learns.parameters())


def test_doctor_lists_every_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    about = SimpleNamespace(name="H100", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: about)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    broken: list[str] = []
    cpu, cuda, mps = doctor.devices(broken)
    assert cpu.startswith("cpu (")
    assert cuda.startswith("cuda:0 H100, 80 GiB")
    assert mps == "mps"
    assert not broken


def test_a_half_precision_region_is_opened_on_the_device_of_the_batch(monkeypatch):
    """EDSR leaves what works in 0..255 out of it, on whatever device."""
    from srkit_builtin.edsr import exactly

    opened = []
    real = torch.autocast

    def autocast(device, *args, **words):
        opened.append((device, words.get("enabled")))
        return real("cpu", enabled=False)

    conv, pixels = torch.nn.Conv2d(3, 3, 1, device="meta"), torch.empty(1, 3, 4, 4, device="meta")
    assert exactly(conv, pixels).shape == (1, 3, 4, 4), "meta has no autocast to leave"
    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda device: True)
    exactly(conv, pixels)
    assert opened == [("meta", False)]


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bf16"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "avx512": True}, "fp32"),
        ({"architecture": "aarch64"}, "fp32"),
    ],
)
def test_auto_is_bf16_where_the_processor_multiplies_it(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert native_precision("cpu") == precision
    assert precision_on("cpu", "auto") == precision
    assert precision_on("cpu", "fp32") == "fp32", "what is said is taken"


def test_auto_is_fp32_where_torch_cannot_say_what_the_processor_does(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert native_precision("cpu") == "fp32"
    assert native_precision("mps") == "fp32"


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((12, 0), "bf16")])
def test_auto_on_a_gpu_goes_by_its_capability(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert native_precision(CUDA) == precision


def test_a_precision_that_there_is_not_is_an_error():
    with pytest.raises(UsageError, match="no precision called 'bf15'; did you mean 'bf16'"):
        precision_on("cpu", "bf15")
