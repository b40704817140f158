"""What people wanted of a result's size and its print, from this field's public trackers: one test a complaint."""

from srkit.upscale.sizes import Wanted, chain, size_of


def test_a_print_has_its_size_at_300_dpi_in_one_step():
    """chaiNNer-org/chaiNNer#2243: upscale twice, resize, add a white border, set 300 dpi in another program."""
    size = size_of(Wanted(paper="50x70cm", pad="white"), 1024, 1024)
    assert (size.canvas, size.dpi) == ((5906, 8268), 300)
    assert size.lines[:2] == (
        "50x70 cm at 300 dpi: 5906x8268 pixels",
        "filled with white: 1181 pixels at the top and bottom",
    )
    assert chain((2, 4), size.factor) == (2, 4)


def test_the_density_does_not_change_the_pixels_and_the_pixels_not_the_density():
    """upscayl/upscayl#347: "I expect the DPI to increase"; upscayl/upscayl#1374: 300 becomes 72. Right: as said."""
    size = size_of(Wanted(scale=2, dpi=300), 1000, 500)
    assert (size.virtual, size.dpi) == ((2000, 1000), 300)
    assert size.lines[0] == "at 300 dpi a print of 16.9 x 8.5 cm"
    assert size_of(Wanted(scale=2), 1000, 500).dpi is None, "the file's own stays"


def test_upright_and_lying_pictures_get_the_same_pixels():
    """upscayl/upscayl#1027: a width of 1600 makes 1600x1200 of 800x600, and 1600x2133 of 600x800."""
    assert size_of(Wanted(long_edge=1600), 800, 600).virtual == (1600, 1200)
    assert size_of(Wanted(long_edge=1600), 600, 800).virtual == (1200, 1600)
    assert size_of(Wanted(paper="A4", crop=True), 800, 600).canvas == (3508, 2480)
    assert size_of(Wanted(paper="A4", crop=True), 600, 800).canvas == (2480, 3508)


def test_any_size_can_be_asked_for():
    """nihui/waifu2x-ncnn-vulkan#20: "scale to be an arbitrary number"; upscayl/upscayl#203: how big the picture is."""
    assert size_of(Wanted(scale=3), 500, 500).virtual == (1500, 1500)
    assert size_of(Wanted(scale=1), 500, 500).virtual == (500, 500)
    assert size_of(Wanted(scale=2.5), 333, 100).virtual == (833, 250)
    assert chain((2,), 3) == (2, 2)
