"""CATANet against its steps written out in loops, its published figures, and the names of the authors' code."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

import srkit
from srkit.testing import check

pytest.importorskip("srkit_catanet")

SMALL = {"dim": 8, "qk_dim": 4, "mlp_dim": 12, "heads": 2, "n_iter": 3}
SMALL |= {"num_tokens": [3, 5], "group_size": [8, 4], "patch_size": [6, 7]}
WORDS = [word for key, value in SMALL.items() for word in ("--set", f"model.{key}={value}")]
WORDS += ["--model", "catanet", "--set", "batch=2", "--set", "patch=16", "--set", "lr=1e-3"]

PARAMETERS = {2: 477, 3: 550, 4: 535}  # thousand, in the paper's table as public notes on it quote it

# The state dict of the authors' code (github.com/EquationWalker/CATANet, basicsr/archs/catanet_arch.py), b a residual
# group. C: dim, Q: qk_dim, M: mlp_dim, T: num_tokens of the group.
NAMES = """
first_conv.weight C,3,3,3
first_conv.bias C
blocks.b.0.means T,C
blocks.b.0.initted
blocks.b.0.norm.weight C
blocks.b.0.norm.bias C
blocks.b.0.mlp.norm.weight C
blocks.b.0.mlp.norm.bias C
blocks.b.0.mlp.fn.fc1.weight M,C
blocks.b.0.mlp.fn.fc1.bias M
blocks.b.0.mlp.fn.dwconv.depthwise_conv.0.weight M,1,5,5
blocks.b.0.mlp.fn.dwconv.depthwise_conv.0.bias M
blocks.b.0.mlp.fn.fc2.weight C,M
blocks.b.0.mlp.fn.fc2.bias C
blocks.b.0.irca_attn.to_k.weight Q,C
blocks.b.0.irca_attn.to_v.weight C,C
blocks.b.0.iasa_attn.to_q.weight Q,C
blocks.b.0.iasa_attn.to_k.weight Q,C
blocks.b.0.iasa_attn.to_v.weight C,C
blocks.b.0.iasa_attn.proj.weight C,C
blocks.b.0.conv1x1.weight C,C,1,1
blocks.b.1.layer.0.norm.weight C
blocks.b.1.layer.0.norm.bias C
blocks.b.1.layer.0.fn.to_q.weight Q,C
blocks.b.1.layer.0.fn.to_k.weight Q,C
blocks.b.1.layer.0.fn.to_v.weight C,C
blocks.b.1.layer.0.fn.proj.weight C,C
blocks.b.1.layer.1.norm.weight C
blocks.b.1.layer.1.norm.bias C
blocks.b.1.layer.1.fn.fc1.weight M,C
blocks.b.1.layer.1.fn.fc1.bias M
blocks.b.1.layer.1.fn.dwconv.depthwise_conv.0.weight M,1,5,5
blocks.b.1.layer.1.fn.dwconv.depthwise_conv.0.bias M
blocks.b.1.layer.1.fn.fc2.weight C,M
blocks.b.1.layer.1.fn.fc2.bias C
mid_convs.b.weight C,C,3,3
mid_convs.b.bias C
last_conv.weight 3,C,3,3
last_conv.bias 3
"""
UPSAMPLER = {
    2: "upconv.weight 4*C,C,3,3\nupconv.bias 4*C",
    3: "upconv.weight 9*C,C,3,3\nupconv.bias 9*C",
    4: "upconv1.weight 4*C,C,3,3\nupconv1.bias 4*C\nupconv2.weight 4*C,C,3,3\nupconv2.bias 4*C",
}


def lively(net: nn.Module) -> nn.Module:
    """With values that leave no part idle, and centres as training leaves them."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in net.named_buffers():
            if name.endswith("initted"):
                buffer.fill_(True)
    return net


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_state_dict_is_the_authors(registry, scale):
    model = registry.choose("model", "catanet")
    options = model.options
    sizes = {"C": options["dim"], "Q": options["qk_dim"], "M": options["mlp_dim"]}
    expected = {}
    for line in (NAMES + UPSAMPLER[scale]).strip().split("\n"):
        pattern, _, shape = line.partition(" ")
        for b, tokens in enumerate(options["num_tokens"] if ".b." in pattern else [0]):
            expected[pattern.replace(".b.", f".{b}.")] = eval(f"({shape}{',' if shape else ''})", sizes | {"T": tokens})
    state = model.build(scale).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected
    assert state["blocks.0.0.initted"].dtype == torch.bool


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_number_of_parameters_is_the_published_one(registry, scale):
    net = registry.choose("model", "catanet-l").build(scale)
    sizes = {name: p.numel() for name, p in net.named_parameters()}
    assert round(sum(sizes.values()) / 1000) == PARAMETERS[scale]
    if scale == 4:  # the paper's ablation: without token aggregation, and with its attention within groups alone
        rest = sum(size for name, size in sizes.items() if not name.startswith("blocks.") or name[9] != "0")
        assert round(rest / 1000) == 366
        across = sum(size for name, size in sizes.items() if "irca_attn" in name)
        assert round((sum(sizes.values()) - across) / 1000) == 511


def layers(net, height, width):
    """Multiply-adds by the layer's name, as the authors counted: of layers only, and 4 for a normalised value."""
    from srkit.evaluate.cost import on_meta

    found: dict[str, int] = {}

    def hook(module, given, result, name):
        each = {nn.Linear: lambda: result.numel() * module.in_features, nn.LayerNorm: lambda: 4 * result.numel()}
        each[nn.Conv2d] = lambda: result.numel() * module.weight[0].numel()
        found[name] = each[type(module)]()

    copy = on_meta(net)
    for name, module in copy.named_modules():
        if isinstance(module, nn.Linear | nn.LayerNorm | nn.Conv2d):
            module.register_forward_hook(partial(hook, name=name))
    with torch.no_grad():
        copy(torch.zeros(1, 3, height, width, device="meta"))
    return found


def test_multiply_adds_are_the_published_ones_and_what_those_leave_out(registry):
    """The paper counts at 256x256 and x4, without the products of queries, keys and values."""
    from srkit.evaluate.cost import count_whole
    from srkit.nets import Loaded

    model = registry.choose("model", "catanet")
    net = model.build(4).eval()
    found = layers(net, 256, 256)
    assert round(sum(found.values()) / 1e9, 1) == 46.8
    rest = sum(count for name, count in found.items() if not name.startswith("blocks.") or name[9] != "0")
    assert round(rest / 1e9, 1) == 37.3  # without token aggregation
    # An output of 1280x720: 41 G in a table of IAFMNet (Xu et al., CVPR 2026). srkit counts the attention too.
    assert round(sum(layers(net, 180, 320).values()) / 1e9) == 41
    multiply_adds, unknown = count_whole(Loaded(net, model, 4), 320, 180)
    assert (round(multiply_adds / 1e9, 1), unknown) == (76.8, set())


def weighted(q, keys, values):
    """One query's attention: d; M,d; M,e -> e."""
    return ((keys @ q) / len(q) ** 0.5).softmax(0) @ values


@pytest.mark.parametrize(("count", "group"), [(21, 4), (20, 4), (5, 8), (9, 8)])
def test_attention_within_and_across_groups_is_its_formula_in_loops(count, group):
    """A subgroup attends to itself and the next; after the last token they go on as in a mirror."""
    from srkit_catanet.net import Centres, SubgroupAttention

    torch.manual_seed(0)
    heads, dim, qk_dim = 2, 8, 4
    within = lively(SubgroupAttention(dim, qk_dim, heads, group)).double()
    across = lively(Centres(dim, qk_dim, heads)).double()
    x, centres = torch.randn(1, count, dim).double(), torch.randn(3, dim).double()
    order = torch.randperm(count)
    size = min(count, group)
    expected = torch.zeros(count, dim).double()
    for place, token in enumerate(order):
        begin = place // size * size
        sequence = [p if p < count else max(0, 2 * count - 1 - p) for p in range(begin, begin + 2 * size)]
        seen = x[0, order[sequence]]
        for head in range(heads):
            qk, v = (slice(head * n // heads, (head + 1) * n // heads) for n in (qk_dim, dim))
            q = within.to_q(x[0, token])[qk]
            expected[token, v] = weighted(q, within.to_k(seen)[:, qk], within.to_v(seen)[:, v])
            expected[token, v] += weighted(q, across.to_k(centres)[:, qk], across.to_v(centres)[:, v])
    torch.testing.assert_close(within(x, order[None], *across(centres))[0], within.proj(expected))


def moved_in_loops(tokens, centres):
    """Each token to the centre of the largest cosine, each centre to the direction of the sum of its own."""
    sums = [torch.zeros(tokens.shape[-1]).double() for _ in centres]
    for token in tokens.flatten(0, 1):
        likeness = [float(F.cosine_similarity(token, centre, 0)) for centre in centres]
        sums[likeness.index(max(likeness))] += token / token.norm()
    return torch.stack(
        [(s if s.any() else c) / (s if s.any() else c).norm() for s, c in zip(sums, centres, strict=True)]
    )


def test_a_step_of_training_moves_the_centres_and_scoring_does_not():
    """Two steps: the first sets them from stretches of the tokens, the second mixes in a thousandth of the new ones."""
    from srkit_catanet.net import TokenAggregation

    torch.manual_seed(0)
    module = TokenAggregation(8, 4, 12, 2, num_tokens=5, group=4, n_iter=3, decay=0.999).double()
    before = module.means.clone()
    module.eval()(torch.rand(2, 8, 3, 4).double())
    assert torch.equal(module.means, before)
    assert not module.initted
    for step in range(2):
        x = torch.randn(2, 8, 3, 4).double()
        tokens = module.norm(x.flatten(2).mT)
        stretches = tokens[:, [*range(12), 11, 10, 9]].view(2, 5, 3, 8)  # of the 12 tokens and, mirrored, 3 more
        centres = before if step else stretches.mean((0, 2))
        for _ in range(3):
            centres = moved_in_loops(tokens.detach(), centres.detach())
        module.train()(x)
        before = centres if step == 0 else 0.999 * before + 0.001 * centres
        torch.testing.assert_close(module.means, before)
        assert module.initted


def test_a_centre_that_no_token_is_like_stays():
    from srkit_catanet.net import middles

    tokens, centres = torch.tensor([[[2.0, 0.1], [3.0, 0.0]]]), torch.tensor([[1.0, 0.0], [-2.0, 0.0]])
    assert middles(tokens, centres)[1].tolist() == [-1, 0]


@pytest.mark.parametrize("size", [(9, 12), (7, 17), (11, 6), (5, 3), (1, 1)])
def test_local_attention_is_the_mean_of_overlapping_windows_in_loops(size):
    """Windows of 6 begin every 4 pixels, the last at the end: of 7 pixels some lie in two, of 11 some in three."""
    from srkit_catanet.net import LocalAttention

    torch.manual_seed(0)
    module = lively(LocalAttention(8, 4, 12, 2, 6)).double()
    height, width = size
    x = torch.randn(1, 8, height, width).double()
    sums, counts = torch.zeros_like(x), torch.zeros(height, width).double()

    def begins(length):
        return sorted({min(i, max(0, length - 6)) for i in range(0, length, 4) if i == 0 or i - 4 + 6 < length})

    for top in begins(height):
        for left in begins(width):
            part = x[:, :, top : top + 6, left : left + 6]
            tokens = part.flatten(2).mT
            tokens = tokens + module.layer[0](tokens)
            sums[:, :, top : top + 6, left : left + 6] += tokens.mT.reshape(part.shape)
            counts[top : top + 6, left : left + 6] += 1
    mean = (sums / counts).permute(0, 2, 3, 1)
    torch.testing.assert_close(module(x), (mean + module.layer[1](mean)).permute(0, 3, 1, 2))


@pytest.mark.parametrize("scale", [3, 4])
def test_the_parts_are_put_together_in_the_authors_order(registry, scale):
    """Groups of like content, then windows; the parts are those that the tests above compare."""
    torch.manual_seed(scale)
    net = lively(registry.choose("model", "catanet", SMALL).build(scale)).double().eval()
    lr = torch.rand(2, 3, 9, 10).double()
    first = x = net.first_conv(lr)
    for (tokens, local), mid in zip(net.blocks, net.mid_convs, strict=True):
        normed = tokens.norm(x.flatten(2).mT)
        cosines = F.cosine_similarity(normed[:, :, None], tokens.means, dim=-1)
        order = torch.stack(
            [torch.tensor(sorted(range(90), key=one.__getitem__)) for one in cosines.argmax(-1).tolist()]
        )
        y = tokens.iasa_attn(normed, order, *tokens.irca_attn(tokens.means)).mT.reshape(x.shape)
        y = x + tokens.conv1x1(y)
        y = y + tokens.mlp(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = x + mid(local(y))
    x = x + first
    for layer, factor in [(net.upconv1, 2), (net.upconv2, 2)] if scale == 4 else [(net.upconv, 3)]:
        x = F.leaky_relu(F.pixel_shuffle(layer(x), factor), 0.1)
    expected = net.last_conv(x) + F.interpolate(lr, scale_factor=scale, mode="bilinear")
    torch.testing.assert_close(net(lr), expected)


def test_a_far_pixel_changes_the_result_so_no_receptive_field_is_declared(registry):
    assert registry.find("model", "catanet").component.receptive_field is None
    torch.manual_seed(0)
    net = lively(registry.choose("model", "catanet", SMALL).build(2)).eval()
    lr = torch.rand(1, 3, 96, 96)
    other = lr.clone()
    other[..., -8:, -8:] = 1 - other[..., -8:, -8:]
    with torch.inference_mode():
        assert (net(lr) - net(other))[..., :32, :32].abs().max() > 1e-3


def test_it_keeps_the_contract(registry):
    """srkit's conformance kit on a small one."""
    from srkit_catanet.net import CATANet

    small = srkit.Registry()
    record = registry.find("model", "catanet").component
    record = replace(record, build=partial(CATANet, **SMALL), presets={}, scales=(4,))
    small.add("model", record, "srkit-catanet")
    findings = check(small, "model", "catanet")
    assert [f for f in findings if f.outcome == "fault"] == []


def test_pixels_are_not_rounded_to_bfloat16_in_training(registry):
    net = registry.choose("model", "catanet", SMALL).build(2)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        sr = net(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert sr.dtype == torch.float32
    assert (sr == sr.bfloat16().float()).float().mean() < 0.1, "hardly a pixel is one that bfloat16 can hold"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"heads": 3}, "dim = 8 is no multiple of heads = 3"),
        ({"group_size": [8]}, "num_tokens has 2, group_size has 1, patch_size has 2"),
        ({"patch_size": [2, 6]}, "patch_size = [2, 6] must all be 3 or more"),
        ({"num_tokens": [0, 6]}, "num_tokens = [0, 6] must all be 1 or more"),
    ],
)
def test_options_that_do_not_fit_are_told(registry, options, told):
    with pytest.raises(srkit.OptionError, match=re.escape(told)):
        registry.choose("model", "catanet", SMALL | options).build(2)


def test_a_resumed_run_is_the_same_bit_for_bit(run_srkit):
    """The centres, which no gradient moves, must go on where they stopped."""
    for words in (
        [*WORDS, "--steps", "4", "--out", "straight"],
        [*WORDS, "--steps", "2", "--out", "resumed"],
        ["--resume", "resumed", "--steps", "4"],
    ):
        code, _, err = run_srkit("train", *words)
        assert code == 0, err
    straight, resumed = (load_file(f"{run}/last.safetensors") for run in ("straight", "resumed"))
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert straight["blocks.1.0.initted"]


def test_training_starts_from_an_official_file_and_upscales_an_odd_sized_photo(registry, run_srkit, photo):
    """`{"params": ...}` as the authors save it; one step of a rate of nothing leaves all but the centres as it is."""
    net = lively(registry.choose("model", "catanet", SMALL).build(3)).eval()
    with torch.no_grad():
        net.last_conv.weight.mul_(0.01)  # so that the picture stays one
    torch.save({"params": net.state_dict()}, "official.pth")
    words = [
        *WORDS,
        "--scale",
        "3",
        "--set",
        "lr=1e-12",
        "--set",
        "model.ema_decay=0.999",
        "--steps",
        "1",
        "--out",
        "run",
    ]
    code, _, err = run_srkit("train", *words, "--init-from", "official.pth")
    assert code == 0, err
    trained = load_file("run/last.safetensors")
    assert trained.keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        atol = 0.01 if name.endswith("means") else 1e-9
        torch.testing.assert_close(trained[name], tensor, rtol=0, atol=atol)
    net.load_state_dict(trained)
    small = photo[:61, :83]
    Image.fromarray(small).save("photo.png")
    code, _, err = run_srkit("upscale", "photo.png", "--model", "run", "--out", "large.png")
    assert code == 0, err
    with torch.inference_mode():
        sr = net(torch.tensor(small).permute(2, 0, 1)[None] / 255)
    expected = sr[0].clamp(0, 1).mul(255).permute(1, 2, 0).numpy()
    difference = np.abs(np.asarray(Image.open("large.png")).astype(float) - expected)
    assert difference.mean() < 0.5  # channels_last may round a token to the other of two centres it is as like
    code, _, err = run_srkit("upscale", "photo.png", "--model", "run", "--tile", "48", "--out", "tiles.png")
    assert code == 0, err
    assert "has no bounded receptive field: its tiles are blended, not exact" in err
