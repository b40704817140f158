"""Folders and batches, as people's complaints in this field's public trackers have them: one test a complaint."""

import io
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from srkit.cli import display
from srkit.errors import UnknownName, UsageError
from srkit.files import remove_leftovers, write_atomically
from srkit.upscale.inputs import Source, inputs_of, printable
from srkit.upscale.journal import Journal
from srkit.upscale.targets import Job, targets_of

posix = pytest.mark.skipif(sys.platform == "win32", reason="names and files of POSIX")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pictures(*names: str | bytes) -> None:
    for name in names:
        path = Path(os.fsdecode(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(path, format="PNG")


def found(*words: str) -> list[str]:
    return [source.path.as_posix() for source in inputs_of(words).sources]


def plan(*words: str, out: str | None = None, **options) -> dict[str, str]:
    """Picture -> result of the jobs that are to be done."""
    options = {"model": "edsr", "scale": 2, **options}
    planned = targets_of(inputs_of(words).sources, Path(out) if out else None, **options)
    return {job.source.as_posix(): job.target.as_posix() for job in planned.todo}


def notices(*words: str, out: str | None = None, **options) -> str:
    options = {"model": "edsr", "scale": 2, **options}
    return "; ".join(targets_of(inputs_of(words).sources, Path(out) if out else None, **options).notices)


def test_its_own_results_are_not_upscaled_again():
    """WL-Amigo/waifu2x-converter-cpp#8: rename what is done "to prevent accidental recursive operation"."""
    pictures("in/a.png", "in/my_photo_x2.png", "in/sub/b.jpg")
    first = plan("in")
    assert first == {
        "in/a.png": "in/a_edsr_x2.png",
        "in/my_photo_x2.png": "in/my_photo_x2_edsr_x2.png",
        "in/sub/b.jpg": "in/sub/b_edsr_x2.png",
    }
    pictures(*first.values(), "in/a_other-model+x8_x2.7.png", "in/a_edsr_x2_edsr_x2.png")
    assert plan("in") == first
    assert plan("in/a.png", "in/a_edsr_x2.png") == {"in/a.png": "in/a_edsr_x2.png"}, "as the shell expands in/*.png"
    assert "5 are results of an earlier call and passed over: a_edsr_x2.png, a_edsr_x2_edsr_x2.png, " in notices("in")
    pictures("in/a_edsr_A2-landscape.png", "in/a_edsr_3000px.jpg", "in/a_edsr_29.7x42cm.png")
    sheets = {"name": "{stem}_{model}_{scale}", "scale": "50x70"}
    pictures(*plan("in", **sheets).values())
    assert plan("in") == first
    assert list(plan("in", **sheets)) == list(first)
    assert plan("in/a_edsr_x2.png") == {"in/a_edsr_x2.png": "in/a_edsr_x2_edsr_x2.png"}, "named alone, it is meant"
    pictures("out/a.png", "out/c_edsr_x2.png", "out/a_old_extra.png")
    assert list(plan("out")) == ["out/a.png", "out/a_old_extra.png", "out/c_edsr_x2.png"], "there is no c"


def test_results_in_a_folder_below_the_pictures_are_not_upscaled_again():
    """leilei- in WL-Amigo/waifu2x-converter-cpp#8, for -o: it is within the folder that is upscaled."""
    pictures("in/a.png", "in/sub/b.jpg")
    for name in ("{stem}_{model}_x{scale}", "{stem}", "big/{stem}", "{stem}_large"):
        first = plan("in", out="in/big", name=name)
        pictures(*first.values())
        assert plan("in", out="in/big", name=name) == first, name
        for path in first.values():
            Path(path).unlink()
    pictures("in/big/own.png")
    assert "in/big/own.png" in plan("in", out="in/big")
    first = plan("in", name="x{scale}/{stem}")
    pictures(*first.values())
    assert plan("in", name="x{scale}/{stem}") == first


def test_a_picture_is_not_taken_for_a_result_because_another_has_its_name():
    """What is left out unasked is lost: 1/a.png, a_1.png and a_old.png are no results of a.png."""
    own = ["in/1/a.png", "in/a.png", "in/a_1.png", "in/a_big.jpg", "in/a_old.png", "in/x9/a.png"]
    pictures(*own)
    names = "{stem}_{model}_x{scale} big/{stem} {model}/{stem} {scale}/{stem} x{scale}/{stem} {stem}_{model}"
    more = "{stem}_{scale} {stem}_big {stem}_{model}_{scale} {folder}/{stem}_x{scale} {stem} {model}{stem}"
    for name in (names + " " + more).split():
        assert list(plan("in", out="out", name=name)) == own, name
        assert name == "{stem}" or list(plan("in", name=name)) == own, name


def test_a_result_never_replaces_a_picture():
    """tsurumeso/waifu2x-chainer#13: the output's name is the input's, "and it'll overwrite"; CompVis/depth-fm#12."""
    pictures("in/a.png", "in/b.jpg", "in/b.png", "in/a_big.png")
    os.link("in/a.png", "a.png")
    for words, options in [
        (["in/a.png"], {"name": "{stem}"}),
        (["in/b.jpg", "in/a.png"], {"name": "{stem}"}),
        (["in/a.png", "in/a_big.png"], {"name": "{stem}_big"}),
        (["in"], {"name": "{stem}", "out": "in"}),
        (["a.png"], {"name": "{stem}", "out": "in"}),
    ]:
        with pytest.raises(
            UsageError, match=r"would replace (itself|'.*', which is to be upscaled too); name a folder"
        ):
            plan(*words, **options)
    assert plan("in/a.png", out="out", name="{stem}") == {"in/a.png": "out/a.png"}
    assert list(plan("in/b.jpg", "in/b.png", name="{stem}").values()) == ["in/b.jpg.png", "in/b.png.png"]
    with pytest.raises(UsageError, match="^in/b.png is there and may be no result; --overwrite replaces"):
        plan("in/b.jpg", name="{stem}")
    assert plan("in/b.jpg", name="{stem}", overwrite=True) == {"in/b.jpg": "in/b.png"}
    assert plan("in/b.jpg", name="{stem}", skip_existing=True) == {}
    with pytest.raises(UsageError, match="--overwrite and --skip-existing exclude each other"):
        plan("in/b.jpg", overwrite=True, skip_existing=True)


def test_two_formats_of_one_name_both_get_a_result():
    """nihui/waifu2x-ncnn-vulkan#27: a.jpg and a.png; one is lost, or all are called .png.png. Right: those two only."""
    pictures("in/a.jpg", "in/a.png", "in/b.png")
    both = {"in/a.jpg": "out/a.jpg_edsr_x2.png", "in/a.png": "out/a.png_edsr_x2.png", "in/b.png": "out/b_edsr_x2.png"}
    assert plan("in", out="out") == both
    assert notices("in", out="out") == "2 results have their picture's suffix in the name, to tell them apart"
    beside = plan("in")
    assert beside == {source: target.replace("out/", "in/") for source, target in both.items()}
    pictures(*beside.values())
    assert plan("in") == beside, "these are known again, too"
    pictures("odd/p.jpg", "odd/p.png", "odd/p.png.jpg")
    assert len(set(plan("odd").values())) == 3


def test_pictures_of_one_name_in_subfolders_all_get_a_result():
    """WalkerMx/AutoCrispy#18: the same names are overwritten; n00mkrad/cupscale#83: all go into the root."""
    pictures("in/a.png", "in/1/a.png", "in/1/2/a.jpg", "in/1/2/a.png")
    assert plan("in", out="out") == {
        "in/a.png": "out/a_edsr_x2.png",
        "in/1/a.png": "out/1/a_edsr_x2.png",
        "in/1/2/a.jpg": "out/1/2/a.jpg_edsr_x2.png",
        "in/1/2/a.png": "out/1/2/a.png_edsr_x2.png",
    }
    assert not Path("out").exists(), "a plan makes no folders"


def test_pictures_of_one_name_from_several_words_all_get_a_result():
    """nihui/waifu2x-ncnn-vulkan#194: several inputs for one output folder."""
    pictures("a/001.png", "b/001.png", "b/002.png", "c/b/001.jpg")
    files = plan("a/001.png", "b/001.png", "b/002.png", out="out")
    assert list(files.values()) == ["out/a/001_edsr_x2.png", "out/b/001_edsr_x2.png", "out/002_edsr_x2.png"]
    told = "2 results keep the folders of their pictures, which have the same names"
    assert notices("a/001.png", "b/001.png", out="out") == told
    folders = plan("a", "b", out="out")
    assert list(folders.values()) == ["out/a/001_edsr_x2.png", "out/b/001_edsr_x2.png", "out/b/002_edsr_x2.png"]
    assert len(set(plan("b", "c/b", out="out").values())) == 3, "two folders called b"
    assert list(plan("a", "./a/001.png", "a/", out="out").values()) == ["out/001_edsr_x2.png"], "each picture once"


def test_letter_case_is_told_apart_where_the_disk_does_not(monkeypatch):
    """affinelayer/pix2pix-tensorflow#40: Image.png and image.png cannot both be written on such a disk."""
    monkeypatch.setattr("srkit.upscale.targets.FOLD_CASE", True)
    sources = [Source(Path("a/Image.jpg")), Source(Path("b/image.png"))]
    planned = targets_of(sources, Path("out"), model="edsr", scale=2)
    assert [job.target.as_posix() for job in planned.jobs] == ["out/a/Image_edsr_x2.png", "out/b/image_edsr_x2.png"]


def test_system_files_and_hidden_ones_are_no_pictures():
    """upscayl/upscayl#283: Thumbs.db, desktop.ini and .DS_Store in a folder end its upscaling."""
    pictures("in/a.png", "in/.hidden.png", "in/.thumbs/a.png", "in/sub/b.png")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        Path("in", name).write_text("")
    assert found("in") == ["in/a.png", "in/sub/b.png"]
    assert inputs_of(["in"]).notices == ("2 files are no pictures and left out: Thumbs.db, desktop.ini",)
    assert found("in/.hidden.png") == ["in/.hidden.png"], "named, it is meant"


def test_a_glob_that_the_shell_left_as_it_is_works():
    """k4yt3x/video2x#578: "the path contains a literal * character"; on Windows no shell expands it."""
    pictures("in/a.png", "in/b.jpg", "in/sub/c.png", "in/sub/.d.png", "in/sub/deep/e.png")
    Path("in/notes.txt").write_text("")
    assert found("in/*.png") == ["in/a.png"]
    assert found("in/**/*.png") == ["in/a.png", "in/sub/c.png", "in/sub/deep/e.png"]
    assert found("in/s*/[c].png") == ["in/sub/c.png"]
    assert found("in/su?") == ["in/sub/c.png", "in/sub/deep/e.png"]
    assert found("*/*.[pj]*g") == ["in/a.png", "in/b.jpg"]
    assert found(str(Path("in/sub/*").absolute())) == [
        Path("in/sub", name).absolute().as_posix() for name in ("c.png", "deep/e.png")
    ]
    assert inputs_of(["in/*"]).notices == ("1 file is no picture and left out: notes.txt",)
    assert list(plan("in/**/*.png", out="out").values()) == [
        "out/a_edsr_x2.png", "out/sub/c_edsr_x2.png", "out/sub/deep/e_edsr_x2.png"
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"^no pictures match 'in/\*.webp'$"):
        found("in/*.webp")
    with pytest.raises(UsageError, match="^no pictures match 'in/n.*': 1 file is no picture and left out: notes.txt$"):
        found("in/n*")


def test_names_with_the_signs_of_globs_are_names():
    """WASasquatch/was-node-suite-comfyui#257: a folder with [ in its name has no pictures; oxipng/oxipng#618."""
    pictures("[2024] in/a [1].png", "[2024] in/b.png", "what, now.png", "50% {stem}.png")
    assert found("[2024] in") == ["[2024] in/a [1].png", "[2024] in/b.png"]
    assert found("[2024] in/a [1].png") == ["[2024] in/a [1].png"]
    assert found("[2024] in/*.png") == ["[2024] in/a [1].png", "[2024] in/b.png"]
    assert found("what, now.png") == ["what, now.png"]
    assert found("50% {stem}.png,[2024] in/b.png") == ["50% {stem}.png", "[2024] in/b.png"]
    assert plan("50% {stem}.png") == {"50% {stem}.png": "50% {stem}_edsr_x2.png"}


def test_links_in_circles_are_not_followed():
    """twisted/twisted#3098, karrick/godirwalk#64: a link to the folder above, and the walk never ends."""
    pictures("in/sub/a.png")
    try:
        os.symlink(Path("in").absolute(), "in/sub/up")
        os.symlink("loop", "in/loop")
    except OSError:
        pytest.skip("no links here")
    assert found("in") == ["in/sub/a.png"]
    assert found("in/**/*.png") == ["in/sub/a.png"]
    with pytest.raises(UsageError, match="^'in/loop' cannot be read: OSError: .*(symbolic links|Symlink loop)"):
        found("in/loop")


@posix
def test_what_is_no_file_is_told_as_what_it_is():
    """A pipe and a dead link were told "did you mean" themselves."""
    os.mkfifo("pipe")
    os.symlink("gone.png", "dead.png")
    Path("empty").mkdir()
    pictures("photo.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for word, message in {
            "": "^'' names no picture; the current folder is '.'$",
            "pipe": "^'pipe' is a pipe, not a file; to read from it: srkit upscale - < 'pipe'$",
            "socket": "^'socket' is a socket, not a file$",
            "/dev/null": "^'/dev/null' is a device, not a file$",
            "dead.png": "^'dead.png' is a link to 'gone.png', which is not there$",
            "a\0b.png": r"^'a\\x00b.png' cannot be the name of a file$",
            "x" * 300: "cannot be read: OSError: .*File name too long",
            "empty": "^no pictures in 'empty'$",
            ",": "^no picture is named in ','",
        }.items():
            with pytest.raises(UsageError, match=message) as error:
                found("photo.png", word)
            assert "did you mean" not in str(error.value)
    with pytest.raises(UnknownName, match="^no picture 'photo.pgn'; did you mean '.*photo.png'"):
        found("photo.pgn")


@posix
def test_a_name_that_no_encoding_can_take_does_not_end_the_batch():
    """agentmorris/MegaDetector#118: print of a file's name ends a batch: UnicodeEncodeError."""
    names = [
        "in/a\nb.png",
        "in/ä ö.png",
        b"in/latin-\xe9.png",
        "in/\u202e.png",
        "in/tab\t.png",
        "in/emoji-\U0001f600.png",
    ]
    pictures(*names)
    targets = plan("in", out="out\n")
    assert len(targets) == len(names)
    for encoding in ("ascii", "latin-1", "utf-8", "cp1252"):
        for path in [*targets, *targets.values()]:
            text = printable(path, encoding)
            assert text.encode(encoding), "it can be written"
            assert text.isprintable(), "it is one line"
    assert printable("in/ä ö.png", "utf-8") == "in/ä ö.png"
    assert printable("in/ä.png", "ascii") == r"in/\xe4.png"
    assert printable(os.fsdecode(b"\xe9\n"), "utf-8") == r"\udce9\n"
    for name in names:
        os.unlink(name)
    Path(os.fsdecode(b"in/\xe9\n.txt")).write_text("")
    with pytest.raises(UsageError) as error:
        inputs_of(["in"])
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", r"\xe4 \udcff"), ("cp1252", r"ä \udcff"), ("utf-8", r"ä \udcff")]
)
def test_a_result_is_printed_whatever_stdout_can_take(encoding, shown, monkeypatch):
    """agentmorris/MegaDetector#118, for the results: the batch ended after the work, before the next picture."""
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding=encoding))
    display.result("ä \udcff")
    display.result("next")
    assert file.getvalue().decode(encoding).splitlines() == [shown, "next"]


def test_a_long_name_gets_a_shorter_result():
    """upscayl/upscayl#132: "adding the suffix to the file output can exceed the maximum file name"."""
    name = "n" * 240
    pictures(f"in/{name}a.png", f"in/{name}b.png", f"in/{'ü' * 120}.png")
    first = plan("in")
    for target in first.values():
        Path(target).with_name(f".{Path(target).name}.12345.tmp").write_text("")  # a temporary name is longer
        assert target.endswith("_edsr_x2.png")
    assert len(set(first.values())) == 3
    pictures(*first.values())
    assert plan("in") == first, "these are known again, too"


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "ü" * 125 + ".png", "n" * 240 + ".png", "a.png"])
def test_a_name_of_any_length_that_the_disk_takes_can_be_written(name):
    """yekta in upscayl/upscayl#118: a long name fails; the name was not too long, that of the temporary file was."""
    write_atomically(Path(name), lambda file: file.write(b"whole"))
    assert Path(name).read_bytes() == b"whole"
    assert os.listdir() == [name]


WRITE = """
import sys, time
from pathlib import Path
from srkit.files import write_atomically
def write(file):
    file.write(b"half")
    file.flush()
    print(flush=True)
    time.sleep(60)
write_atomically(Path(sys.argv[1]), write)
"""


@posix
def test_what_a_killed_process_left_half_written_is_removed():
    """.NAME.PID.tmp stayed for ever. What another process, or another machine, is writing stays."""
    programs = [
        subprocess.Popen([sys.executable, "-c", WRITE, name], stdout=subprocess.PIPE) for name in ("a.png", "b\n.png")
    ]
    for program in programs:
        program.stdout.readline()
    assert remove_leftovers(Path()) == 0
    programs[0].kill()
    programs[0].wait()
    pictures(".hidden.png", ".a.png.tmp", ".a.png.123.tmp")
    for other in (".new.png.00000000-999999999.tmp", ".old.png.00000000-999999999.tmp"):
        Path(other).write_text("")
    os.utime(".old.png.00000000-999999999.tmp", (0, 0))
    before = set(os.listdir())
    assert remove_leftovers(Path()) == 2
    gone = before - set(os.listdir())
    assert {name.partition(".png")[0] for name in gone} == {".a", ".old"}
    programs[1].kill()
    programs[1].wait()
    assert remove_leftovers(Path()) == 1
    for program in programs:
        program.stdout.close()
    assert remove_leftovers(Path("gone")) == 0


def test_many_files_take_time_in_proportion():
    """4,000 files took 20 s: each name was counted in the list of all."""
    seconds = []
    for count in (500, 2000):
        sources = [Source(Path(f"in/{n % 100}/{n // 200:03}.{'png' if n % 3 else 'jpg'}")) for n in range(count)]
        sources = list({source.path: source for source in sources}.values())
        start = time.process_time()
        planned = targets_of(sources, Path("out"), model="edsr", scale=2)
        seconds.append((time.process_time() - start) / len(sources))
        assert len({job.target for job in planned.jobs}) == len(sources)
    assert seconds[1] < 4 * seconds[0] + 1e-4
    assert seconds[1] < 0.001


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "{stme}",
            "has no field 'stme'; did you mean 'stem'?; the fields are {stem}, {suffix}, {folder}, {model}",
        ),
        ("{}", "has no field ''; the fields are"),
        ("{stem.__class__}", "has no field 'stem.__class__'"),
        ("{stem!r}", "has no field 'stem'"),
        ("{stem:>99999999}", "has no field 'stem'"),
        ("{stem", "expected '}' before end of string; the fields are"),
        ("../{stem}", "leaves the folder of the results; say the folder with -o"),
        ("a/../../{stem}", "leaves the folder"),
        ("/tmp/{stem}", "leaves the folder"),
        ("", "names no file; the default is '{stem}_{model}_x{scale}'"),
        ("sub/", "names no file"),
        ("same", "2 pictures would all become 'out/same.png'; --name needs {stem} in it"),
        ("{model}.jpg", "2 pictures would all become 'out/edsr.jpg'; --name needs {stem}"),
    ],
)
def test_a_name_that_cannot_be_meant_is_told_before_any_work(name, message):
    pictures("a.png", "b.png")
    with pytest.raises(UsageError) as error:
        plan("a.png", "b.png", out="out", name=name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_names_as_people_ask_for_them():
    """nagadomi/nunif#67 and upscayl/upscayl#875: the same names; DeadSix27/waifu2x-converter-cpp#118."""
    pictures("in/a.jpg", "in/sub/b.png")
    assert list(plan("in", out="out", name="{stem}").values()) == ["out/a.png", "out/sub/b.png"]
    assert list(plan("in", out="out", name="{stem}", suffix=".webp").values()) == ["out/a.webp", "out/sub/b.webp"]
    assert list(plan("in", out="out", name="{stem}.tiff").values()) == ["out/a.tiff", "out/sub/b.tiff"]
    assert plan("in/a.jpg", out="out", name="{stem}.{suffix}") == {"in/a.jpg": "out/a.jpg.png"}
    assert list(plan("in", name="x{scale}/{folder}-{stem}", scale=2.7).values()) == [
        "in/x2.7/in-a.png", "in/sub/x2.7/sub-b.png"
    ]  # fmt: skip
    assert list(plan("in/a.jpg", model="hf:me/net").values()) == ["in/a_hf-me-net_x2.png"]
    assert plan("in/a.jpg", name="one") == {"in/a.jpg": "in/one.png"}
    os.chdir("in")
    assert list(plan(".", out="../out").values()) == ["../out/a_edsr_x2.png", "../out/sub/b_edsr_x2.png"]
    with pytest.raises(UsageError, match="-o 'a.jpg' is a file, not a folder"):
        plan("sub", out="a.jpg")
    with pytest.raises(UsageError, match="leaves the folder"):
        targets_of([Source(Path("...png"))], Path("out"), name="{stem}/x", model="m", scale=2)


def test_existing_results_are_skipped_where_it_is_asked():
    """nihui/waifu2x-ncnn-vulkan#99, joeyballentine/ESRGAN#8: do not upscale again what is there."""
    pictures("in/a.png", "in/b.png", "out/a_edsr_x2.png")
    both = {"in/a.png": "out/a_edsr_x2.png", "in/b.png": "out/b_edsr_x2.png"}
    assert plan("in", out="out") == both
    assert notices("in", out="out") == "1 result is there and will be overwritten (--skip-existing keeps them)"
    assert list(plan("in", out="out", skip_existing=True)) == ["in/b.png"]
    assert notices("in", out="out", skip_existing=True) == "1 result is there and skipped"


RUN = """
import sys, time
from pathlib import Path
from srkit.upscale.inputs import inputs_of
from srkit.upscale.journal import Journal
from srkit.upscale.targets import targets_of

journal = Journal({"weights": "abc", "scale": 2})
planned = targets_of(inputs_of(["in"]).sources, Path("out"), model="edsr", scale=2, finished=journal.finished)
Path("out").mkdir(exist_ok=True)
for notice in planned.notices:
    print(notice)
for job in planned.todo:
    job.target.write_bytes(job.source.read_bytes() * 2)
    journal.add(job)
    print(job.source.name, flush=True)
    time.sleep(float(sys.argv[1]))
journal.close(complete=True)
"""


def test_a_killed_batch_goes_on_with_the_rest():
    """upscayl/upscayl#1018: "resume where it stopped when i start again", after kill -9 here; and then begins anew."""
    pictures(*(f"in/{n}.png" for n in range(5)))
    process = subprocess.Popen([sys.executable, "-c", RUN, "60"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "0.png\n"
    process.kill()
    process.wait()
    process.stdout.close()
    before = Path("out/0_edsr_x2.png").stat().st_mtime_ns

    def again() -> list[str]:
        done = subprocess.run([sys.executable, "-c", RUN, "0"], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    told = "1 of 5 were done before the last run was stopped; this one does the rest"
    assert again() == [told, "1.png", "2.png", "3.png", "4.png"]
    assert Path("out/0_edsr_x2.png").stat().st_mtime_ns == before
    overwritten = "5 results are there and will be overwritten (--skip-existing keeps them)"
    assert again() == [overwritten, *(f"{n}.png" for n in range(5))], "a complete run is not continued"


def job_of(name: str) -> Job:
    pictures(name, f"{name}.out.png")
    return Job(Path(name), Path(f"{name}.out.png"))


def test_what_changed_since_is_done_again(tmp_path):
    """upscayl/upscayl#276: another picture under the same name is not upscaled, the old result is shown."""
    jobs = [job_of(f"{n}.png") for n in range(5)]
    first = Journal({"scale": 2}, tmp_path / "cache")
    assert not any(first.finished(job) for job in jobs)
    for job in jobs[:4]:
        first.add(job)
    Image.new("L", (3, 3)).save("1.png")
    jobs[2].target.unlink()
    jobs[3].target.write_bytes(b"other")
    again = Journal({"scale": 2}, tmp_path / "cache")
    assert [again.finished(job) for job in jobs] == [True, False, False, False, False]
    assert not Journal({"scale": 3}, tmp_path / "cache").finished(jobs[0]), "another command"
    again.close(complete=False)
    assert Journal({"scale": 2}, tmp_path / "cache").finished(jobs[0])
    again.close(complete=True)
    assert not list((tmp_path / "cache").iterdir())


def test_a_picture_that_changes_while_it_is_upscaled_is_done_again(tmp_path):
    job = job_of("a.png")
    journal = Journal({}, tmp_path / "cache")
    assert not journal.finished(job)
    Image.new("L", (3, 3)).save("a.png")
    journal.add(job)
    assert not Journal({}, tmp_path / "cache").finished(job)


def test_a_line_that_a_kill_cut_off_costs_only_itself(tmp_path):
    jobs = [job_of(f"{n}.png") for n in range(3)]
    journal = Journal({}, tmp_path / "cache")
    journal.add(jobs[0])
    journal.add(jobs[1])
    with open(journal.path, "r+b") as file:
        file.truncate(journal.path.stat().st_size - 9)
    again = Journal({}, tmp_path / "cache")
    again.add(jobs[2])
    with open(again.path, "ab") as file:
        file.write(b'[1, 2]\nnull\n{"source": 3}\n\xff\n')
    last = Journal({}, tmp_path / "cache")
    assert [last.finished(job) for job in jobs] == [True, False, True]
    (tmp_path / "file").write_text("")
    Journal({}, tmp_path / "file").add(jobs[0])  # a cache that cannot be written costs no picture


def test_two_programs_in_one_folder_lose_no_line(tmp_path):
    """upscayl/upscayl#585: a batch removes finished files; joeyballentine/ESRGAN#8: two upscalers for one batch."""
    script = """
import sys
from pathlib import Path
from srkit.upscale.journal import Journal
from srkit.upscale.targets import Job
journal = Journal({}, Path("cache"))
for n in range(300):
    journal.add(Job(Path(f"{sys.argv[1]}-{n}.png"), Path("in.png")))
"""
    pictures("in.png")
    programs = [subprocess.Popen([sys.executable, "-c", script, name]) for name in "ab"]
    assert [program.wait() for program in programs] == [0, 0]
    lines = [json.loads(line) for file in Path("cache").iterdir() for line in file.read_text().split("\n") if line]
    assert len({line["source"] for line in lines}) == len(lines) == 600
