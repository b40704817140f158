"""The loop and what feeds it: parts of a batch, ranks, guards, averages, LR made on the device."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from srkit import Batch, UsageError, load_plugins
from srkit.components import Augmentation
from srkit.data.sampler import Batches, Sampler
from srkit.data.shards import Shards, write_shards
from srkit.data.store import packed
from srkit.train.distributed import World
from srkit.train.loop import Criterion, Diverged, Guard, last_layer, train
from srkit.train.memory import largest
from srkit.train.optim import clipper
from srkit.train.parts import averaged

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path, photo):
    (tmp_path / "pictures").mkdir()
    for i in range(5):
        Image.fromarray(photo[i * 10 : i * 10 + 101 + i, i * 20 : i * 20 + 90]).save(tmp_path / f"pictures/{i}.png")
    return tmp_path / "pictures"


def pack(folder, scale=2, **words):
    return packed(load_plugins().choose("dataset", "folder"), str(folder), "train", scale, **words)


def sampler(stores, **changes):
    wanted = {"scale": 2, "batch": 4, "patch": 16, "seed": 3, "device": CPU} | changes
    return Sampler(stores, **wanted)


def a_net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))


def run(steps=4, batches=None, criterion=None, net=None, guard=None, lr=1e-3, learned=lambda step: None, **words):
    net = net or a_net()
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    done = []
    train(
        lambda lr, scale: net(lr),
        criterion or Criterion([nn.L1Loss()], [1.0]),
        optimizer,
        batches,
        rates=lambda step: None,
        clip=clipper(list(net.parameters()), 0.0, "norm"),
        guard=guard or Guard(100.0, 3, CPU),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        steps=range(steps),
        seed=0,
        world=World(),
        stop=lambda: False,
        learned=learned,
        after=lambda d: done.append(d),
        **words,
    )
    return net, done


def difference(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(float((x - y).detach().abs().max()) for x, y in pairs)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_made_on_the_device_is_the_stored_lr_bit_for_bit(folder, scale):
    """Many draws from small pictures, so that patches at every edge and corner are among them."""
    stored, made = pack(folder, scale), pack(folder, scale, lr=False)
    assert made.path.stat().st_size < stored.path.stat().st_size
    one, two = (sampler([store], scale=scale, batch=40, patch=19) for store in (stored, made))
    for step in range(3):
        a, b = one(step), two(step)
        assert torch.equal(a.hr, b.hr)
        assert torch.equal(a.lr, b.lr)
        assert b.lr.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("lr", [True, False])
def test_resident_pixels_and_mapped_ones_give_the_same_patches(folder, tmp_path, lr):
    pairs = load_plugins().choose("dataset", "folder").build(folder, "train", 2)
    write_shards(pairs, 2, 3, tmp_path / "out", "test", lambda done, total: None)
    for stores in ([pack(folder, lr=lr)], Shards(tmp_path / "out", "train", 2).stores(0, 1)):
        mapped, resident = sampler(stores, batch=30, resident="no"), sampler(stores, batch=30, resident="yes")
        assert mapped.resident is None
        assert resident.resident is not None
        for step in range(3):
            assert torch.equal(mapped(step).hr, resident(step).hr)
            assert torch.equal(mapped(step).lr, resident(step).lr)


@pytest.mark.parametrize(("rank", "size"), [(0, 1), (1, 2)])
def test_batches_begun_ahead_are_those_made_at_once(folder, rank, size):
    samplers = {scale: sampler([pack(folder, scale)], scale=scale) for scale in (2, 3)}
    going = Batches(samplers, modules("dihedral", "mixup"), 5, rank, size)
    going.ahead()  # before the first step nothing follows
    for step in (0, 1, 2, 3, 7, 4):  # in order, and after a jump
        scale, batch = going(step)
        going.ahead()
        begun = going.begun
        going.ahead()
        assert begun is going.begun  # begun once
        again, alone = Batches(samplers, modules("dihedral", "mixup"), 5, rank, size)(step)
        assert scale == again
        assert torch.equal(batch.hr, alone.hr)
        assert torch.equal(batch.lr, alone.lr)
    assert {going(step)[0] for step in range(10)} == {2, 3}


def test_the_next_batch_is_begun_while_gradients_are_computed(folder):
    told, batches = [], Batches({2: sampler([pack(folder)])}, [], 0)

    class Told(nn.Module):
        def forward(self, sr, hr):
            told.append("loss")
            sr.register_hook(lambda _: told.append("gradient"))
            return (sr - hr).abs().mean()

    def ahead() -> None:
        told.append("ahead")
        batches.ahead()

    run(steps=2, batches=batches, criterion=Criterion([Told()], [1.0]), ahead=ahead)
    assert told == ["loss", "ahead", "gradient"] * 2


class Noise(nn.Module):
    def forward(self, batch: Batch) -> Batch:
        return Batch(batch.lr + 0.1 * torch.rand(len(batch.lr), 1, 1, 1), batch.hr)


def everything(batches: Sequence[Batches], step: int) -> Batch:
    found = [each(step)[1] for each in batches]
    return Batch(torch.cat([b.lr for b in found]), torch.cat([b.hr for b in found]))


def test_ranks_share_the_very_batch_of_one_process(folder):
    draw = sampler([pack(folder)])
    for augmentations in ([], [(Noise(), False)]):
        whole = everything([Batches({2: draw}, augmentations, 5)], 7)
        parts = everything([Batches({2: draw}, augmentations, 5, rank, 2) for rank in range(2)], 7)
        assert torch.equal(whole.lr, parts.lr)
        assert torch.equal(whole.hr, parts.hr)
    own = everything([Batches({2: draw}, [(Noise(), True)], 5, rank, 2) for rank in range(2)], 7)
    assert torch.equal(own.hr, whole.hr)
    added = (own.lr - everything([Batches({2: draw}, [], 5)], 7).lr).mean((1, 2, 3))
    assert len({round(float(a), 5) for a in added}) == 4, "each rank draws for itself"
    assert Augmentation(name="a", build=Noise).per_rank is False


def modules(*names: str) -> list[tuple[nn.Module, bool]]:
    registry = load_plugins()
    return [(registry.choose("augmentation", name).build(), False) for name in names]


ROWS = {
    "colour": modules("dihedral", "colour-jitter", "channel-shuffle", "blend"),
    "partners of partners": modules("dihedral", "mixup", "rescale", "cutmix", "colour-jitter", "mixup"),
    "forward alone in the middle": [*modules("dihedral", "mixup"), (Noise(), False), *modules("cutmix", "cutblur")],
}


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_that_change_their_own_rows_make_the_batch_of_one_process(folder, case, ranks):
    draw = sampler([pack(folder)], batch=16)
    one = Batches({2: draw}, ROWS[case], 5)
    several = [Batches({2: draw}, ROWS[case], 5, rank, ranks) for rank in range(ranks)]
    for step in (7, 8, 3):  # cut ahead, and at once
        whole, parts = one(step)[1], everything(several, step)
        torch.testing.assert_close(parts.lr, whole.lr, rtol=0, atol=1e-6)
        torch.testing.assert_close(parts.hr, whole.hr, rtol=0, atol=1e-6)


def test_a_rank_cuts_its_own_rows_and_their_partners(folder, monkeypatch):
    cut = []
    original = Sampler.cut
    monkeypatch.setattr(Sampler, "cut", lambda self, step, rows: cut.append(rows) or original(self, step, rows))
    draw = sampler([pack(folder)], batch=64)
    for names, most in ((("dihedral",), 16), (("dihedral", "mixup"), 32)):
        cut.clear()
        Batches({2: draw}, modules(*names), 5, rank=1, size=4)(0)
        assert set(range(16, 32)) <= set(cut[0])
        assert 16 <= len(cut[0]) <= most
        if "mixup" in names:
            assert len(cut[0]) > 16
    cut.clear()
    Batches({2: draw}, [(Noise(), False)], 5, rank=1, size=4)(0)
    assert cut[0] is None, "an augmentation with forward alone needs the whole batch"


def test_shards_are_disjoint_and_each_rank_reads_its_own(folder, tmp_path):
    pairs = load_plugins().choose("dataset", "folder").build(folder, "train", 2)
    write_shards(pairs, 2, 3, tmp_path / "out", "test", lambda done, total: None)
    write_shards(pairs, 2, 3, "memory://out", "test", lambda done, total: None)
    for root in (tmp_path / "out", "memory://out"):
        shards = Shards(root, "train", 2)
        assert len(shards) == 5
        names = [[name for store in shards.stores(rank, 2) for name in store.names] for rank in range(2)]
        assert sorted(names[0] + names[1]) == ["0", "1", "2", "3", "4"]
        assert {shards[i].name for i in range(5)} == set("01234")
        for i in range(5):
            original = next(pairs[j] for j in range(5) if pairs[j].name == shards[i].name).hr
            np.testing.assert_array_equal(
                shards[i].hr, original[: len(original) // 2 * 2, : original.shape[1] // 2 * 2]
            )
        with pytest.raises(UsageError, match="3 shards cannot be shared by 4 ranks; pack with --shards 4"):
            shards.stores(0, 4)
        with pytest.raises(UsageError, match="packed for x2, not x3"):
            Shards(root, "train", 3)
    one, many = sampler([pack(folder)], batch=64), sampler(Shards(tmp_path / "out", "train", 2).stores(0, 1), batch=64)
    seen = [{patch.numpy().tobytes() for step in range(40) for patch in draw(step).lr} for draw in (one, many)]
    assert len(seen[0] & seen[1]) > 100, "patches cut through shards are patches of the pictures"


def test_a_torn_shard_is_named(folder, tmp_path):
    pairs = load_plugins().choose("dataset", "folder").build(folder, "train", 2)
    write_shards(pairs, 2, 2, tmp_path / "out", "test", lambda done, total: None)
    torn = next((tmp_path / "out").glob("shard-00001*"))
    torn.write_bytes(torn.read_bytes()[:-5])
    with pytest.raises(Exception, match=r"shard-00001.* has .* bytes, not .*; pack it again"):
        Shards(tmp_path / "out", "train", 2).stores(0, 1)


def test_accumulation_is_the_same_step(folder):
    batches = Batches({2: sampler([pack(folder)])}, [], 0)
    nets = [run(batches=batches, accumulate=parts)[0] for parts in (1, 2, 4)]
    assert max(difference(nets[0], other) for other in nets[1:]) < 1e-5
    assert difference(nets[0], a_net()) > 1e-3


def test_a_learning_loss_sees_the_whole_batch_whatever_the_parts(folder):
    class Learns(nn.Module):
        seen: list = []  # noqa: RUF012

        def forward(self, sr, hr):
            return (sr - hr).abs().mean()

        def update(self, sr, hr):
            self.seen.append((sr.shape, hr.clone()))

    batches = Batches({2: sampler([pack(folder)])}, [], 0)
    for parts in (1, 2):
        run(steps=1, batches=batches, criterion=Criterion([Learns()], [1.0]), accumulate=parts)
    (shape, hr), (shape2, hr2) = Learns.seen
    assert shape == shape2 == (4, 3, 32, 32)
    assert torch.equal(hr, hr2)


def test_an_adaptive_weight_is_the_published_one(folder):
    """Esser et al. 2021, equation 7, by the gradients of two backward passes; the bounds of their code."""
    _, batch = Batches({2: sampler([pack(folder)])}, [], 0)(0)
    criterion = Criterion([nn.L1Loss(), nn.MSELoss()], [2.0, 0.3], ["l1", "l2"], adaptive=[False, True])
    net = nn.Sequential(a_net(), nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1).requires_grad_(False))
    weight = net[1].weight  # that of the last layer which is trained

    def norm(loss):
        net.zero_grad()
        loss(net(batch.lr), batch.hr).backward()
        return float(weight.grad.norm())

    wanted = 2.0 * norm(nn.L1Loss()) / (norm(nn.MSELoss()) + 1e-4)
    sr = net(batch.lr)
    assert last_layer(sr) is weight
    terms = criterion.terms(sr, batch.hr)
    changed, told = criterion.adapted(terms, sr, World())
    assert float(told["loss_l2_lambda"]) == pytest.approx(wanted, rel=1e-5)
    assert changed[1].item() == pytest.approx(wanted * 0.3 * nn.MSELoss()(sr, batch.hr).item(), rel=1e-5)
    assert changed[0] is terms[0]
    assert not told["loss_l2_lambda"].requires_grad, "the weight is no way for gradients"

    silent = Criterion([nn.L1Loss(), lambda sr, hr: (sr * 0).sum()], [1.0, 1.0], adaptive=[False, True])
    assert float(silent.adapted(silent.terms(sr, batch.hr), sr, World())[1]["loss_1_lambda"]) <= 1e4
    _, done = run(steps=2, batches=Batches({2: sampler([pack(folder)])}, [], 0), net=net, criterion=criterion)
    assert done[1].parts.keys() == {"loss_l1", "loss_l2", "loss_l2_lambda"}


class Bad(nn.Module):
    """L1 whose gradient, or value, is spoilt at some calls."""

    def __init__(self, at, kind):
        super().__init__()
        self.at, self.kind, self.calls = at, kind, -1

    def forward(self, sr, hr):
        self.calls += 1
        loss = (sr - hr).abs().mean()
        if self.calls not in self.at:
            return loss
        if self.kind == "huge":
            return loss * 1e6
        if self.kind == "value":
            return loss * float("nan")
        return loss + (sr - sr.detach()).sum().sqrt() * 0  # value as before, gradient 0 * inf


@pytest.mark.parametrize("kind", ["gradient", "value", "huge"])
def test_a_bad_step_changes_nothing(folder, kind):
    batches = Batches({2: sampler([pack(folder)])}, [], 0)
    guard = Guard(100.0, 3, CPU)
    spoilt, done = run(steps=6, batches=batches, criterion=Criterion([Bad({2, 4}, kind)], [1.0]), guard=guard)
    assert [d.good for d in done] == [True, True, False, True, False, True]
    assert guard.skipped == 2
    assert all(p.isfinite().all() for p in spoilt.parameters())

    def without(step):  # the same steps, had the bad ones never been
        return batches([0, 1, 3, 5][step])

    assert difference(spoilt, run(steps=4, batches=without)[0]) == 0


def test_too_many_bad_steps_in_a_row_diverge(folder):
    batches = Batches({2: sampler([pack(folder)])}, [], 0)
    with pytest.raises(Diverged):
        run(steps=9, batches=batches, criterion=Criterion([Bad({3, 4, 5}, "value")], [1.0]))


def test_the_average_is_the_formula(folder):
    batches, net = Batches({2: sampler([pack(folder)])}, [], 0), a_net()
    average, expected = averaged(net, 0.5), [p.detach().clone() for p in net.parameters()]
    decays = [0, 0, 1 - 2 ** (-2 / 3), 0.5, 0.5]  # warmed up: 1 - (1 + n) ** (-2/3), then what was asked for

    def learned(step):
        average.update(net, step)
        for e, p in zip(expected, net.parameters(), strict=True):
            e.mul_(decays[step]).add_((1 - decays[step]) * p.detach())

    run(steps=5, batches=batches, net=net, learned=learned)
    for e, p in zip(expected, average.module.parameters(), strict=True):
        torch.testing.assert_close(p, e, rtol=1e-6, atol=1e-7)


def test_the_average_is_of_buffers_too():
    """Running means of a batch norm are averaged; what counts its batches is copied; of neither the other."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    average = averaged(net, 0.9)
    for step in range(4):
        before = {name: value.clone() for name, value in average.module.state_dict().items()}
        net(torch.rand(2, 3, 8, 8) + step)
        average.update(net, step)
        share = 1 - average.get_decay(step)
        for name, value in average.module.state_dict().items():
            now = net.state_dict()[name]
            expected = before[name].lerp(now, share) if now.is_floating_point() else now
            torch.testing.assert_close(value, expected)


def test_half_precision_trains_nearly_alike(folder):
    batches = Batches({2: sampler([pack(folder)])}, [], 0)
    full, half = run(batches=batches)[0], run(batches=batches, precision="bf16")[0]
    assert 0 < difference(full, half) < 1e-2


def test_a_loss_is_computed_in_float32_whatever_the_network_is(folder):
    seen = []

    class Watched(nn.L1Loss):
        def forward(self, sr, hr):
            seen.append((sr.dtype, hr.dtype, torch.is_autocast_enabled("cpu")))
            return super().forward(sr, hr)

    run(batches=Batches({2: sampler([pack(folder)])}, [], 0), criterion=Criterion([Watched()], [1.0]), precision="bf16")
    assert set(seen) == {(torch.float32, torch.float32, False)}


def test_what_fits_is_tried_out():
    def attempt(batch, patch):
        if batch * patch**2 > 5 * 16**2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert largest(attempt, [(8, 16), (4, 16), (2, 16)]) == (4, 16)
    assert largest(attempt, [(8, 16)]) is None
    with pytest.raises(ZeroDivisionError):
        largest(lambda batch, patch: 1 / 0, [(8, 16)])
