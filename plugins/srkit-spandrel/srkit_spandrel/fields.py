"""How far the convolutional networks see, by their options: for `Model.receptive_field`. Imports nothing.

Each is the number of input pixels to each side of a pixel that can change its output; None where all can.
"""

from collections.abc import Sequence


def at_half(reach: int, factor: int = 2) -> int:
    """Pixels that are seen on a grid `factor` times coarser, for `reach` pixels on the fine one."""
    return -(-reach // factor)


def compact(scale: int, *, num_conv: int, **_: object) -> int:
    return num_conv + 2


def span(scale: int, **_: object) -> int:
    return 1 + 6 * 3 + 1 + 1  # first convolution, six blocks of three, the convolution after them, the upsampler


def dncnn(scale: int, *, nb: int, **_: object) -> int:
    return nb


def esrgan(scale: int, *, num_blocks: int, shuffle_factor: int | None, **_: object) -> int | None:
    if shuffle_factor:
        return None  # its pixels are groups of shuffle_factor**2, to which tiles would have to keep
    reach = 2  # the two convolutions at full size
    while scale > 1:
        reach, scale = at_half(reach + 1), scale // 2
    return reach + 1 + 15 * num_blocks + 1


def mosr(scale: int, *, n_block: int, kernel_size: int, upsampler: str, **_: object) -> int | None:
    if upsampler == "dys":
        return None  # it looks where it is told to by the picture
    return 1 + n_block * (2 + kernel_size // 2) + 2 + 1


def plksr(
    scale: int, *, n_blocks: int, ccm_type: str, lk_type: str, kernel_size: int, use_max_kernel: bool,
    sparse_kernels: Sequence[int], sparse_dilations: Sequence[int], use_ea: bool, **_: object,
) -> int:  # fmt: skip
    large = kernel_size // 2
    if lk_type == "SparsePLK":
        sparse = [kernel // 2 * step for kernel, step in zip(sparse_kernels, sparse_dilations, strict=False)]
        large = max(*sparse, large if use_max_kernel else 0)
    return 1 + n_blocks * ((2 if ccm_type == "DCCM" else 1) + large + use_ea) + 1


def realplksr(
    scale: int, *, n_blocks: int, kernel_size: int, use_ea: bool, layer_norm: bool, dysample: bool, **_: object
) -> int | None:
    if dysample or not layer_norm:
        return None  # group norms take their mean over the whole picture
    return 1 + n_blocks * (2 + kernel_size // 2 + use_ea) + 1


def swift_srgan(scale: int, *, num_blocks: int, **_: object) -> int:
    reach = 4  # the last convolution is of 9x9 at full size
    while scale > 1:
        reach, scale = at_half(reach) + 1, scale // 2
    return 4 + 2 * num_blocks + 1 + reach
