"""Archives from strangers: pictures come out, nothing gets out of its folder, and all of it or nothing."""

import io
import json
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from srkit import Archive, ChecksumError, DataError, SrkitError, data_folder
from srkit.data.archives import fetch_archive, is_there, unpack
from tests.server import picture, tarred, zipped

FILES = {"Set/HR/a.png": picture(1), "Set/HR/deep/b.png": picture(2), "Set/LR/ax2.png": picture(3, 12, 16)}
PACKERS = {
    "zip": zipped, "tar": tarred, "tar.gz": lambda files: tarred(files, "w:gz"),
    "tar.bz2": lambda files: tarred(files, "w:bz2"), "tar.xz": lambda files: tarred(files, "w:xz"),
}  # fmt: skip


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def put(place: Path):
    def make(data: bytes) -> Path:
        (place / "archive").write_bytes(data)
        return place / "archive"

    return make


@pytest.mark.parametrize("kind", PACKERS)
def test_pictures_below_the_folders_come_out_and_nothing_else(put, place, kind):
    more = {
        "Set/HR/readme.txt": b"hello", "Set/HR/run.py": b"import os", "Set/HR/.hidden.png": picture(4),
        "__MACOSX/Set/HR/._a.png": b"mac", "Other/c.png": picture(5), "Set.png": picture(6),
    }  # fmt: skip
    path = put(PACKERS[kind]({**FILES, **more}))
    told = []
    found = unpack(path, place, {"Set/HR": 2, "Set/LR": 0}, lambda *values: told.append(values))
    assert found == {"Set/HR": 2, "Set/LR": 1}
    path.unlink()
    assert everything(place) == FILES
    assert len(told) == 3
    assert all(0 <= done <= total for done, total in told)


@pytest.mark.parametrize("name", ["../evil.png", "Set/HR/../../../evil.png", "/tmp/evil.png", "..\\evil.png",
                                  "C:\\evil.png", "Set/HR/C:/evil.png"])  # fmt: skip
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_leads_out_refuses_the_whole_archive(put, place, kind, name):
    path = put(PACKERS[kind]({**FILES, name: picture(4)}))
    before = everything(place.parent)
    with pytest.raises(DataError, match="is refused: '.*' in it leads out of its folder"):
        unpack(path, place, {"Set/HR": 0, "": 0})
    assert everything(place.parent) == before
    assert [p.name for p in place.iterdir()] == ["archive"]


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> dict[str, tarfile.TarInfo]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return {name: info}


@pytest.mark.parametrize(
    "attack",
    [
        link("Set/HR/evil.png", "/etc/passwd"),
        link("Set/HR/evil.png", "../../../outside.png"),
        link("Set/HR/evil.png", "../../outside.png", tarfile.LNKTYPE),
        link("Set/HR/evil.png", "/etc/passwd", tarfile.LNKTYPE),
        {**link("Set/HR/out", "../../.."), "Set/HR/out/evil.png": picture(4)},
        link("Set/HR/evil.png", "", tarfile.CHRTYPE),
        link("Set/HR/evil.png", "", tarfile.FIFOTYPE),
    ],
    ids=["absolute", "up", "hard up", "hard absolute", "through a folder", "device", "pipe"],
)
def test_links_that_lead_out_and_devices_refuse_the_whole_tar(put, place, attack):
    path = put(tarred({**FILES, **attack}))
    with pytest.raises(DataError, match="is refused"):
        unpack(path, place, {"Set/HR": 0})
    assert [p.name for p in place.iterdir()] == ["archive"]


def test_a_link_that_stays_inside_is_not_made(put, place):
    path = put(
        tarred({**FILES, **link("Set/HR/c.png", "a.png"), **link("Set/HR/d.png", "Set/HR/a.png", tarfile.LNKTYPE)})
    )
    assert unpack(path, place, {"Set/HR": 2}) == {"Set/HR": 2}
    assert not any(p.is_symlink() for p in place.rglob("*"))


def test_a_link_in_a_zip_refuses_it(put, place):
    info = zipfile.ZipInfo("Set/HR/evil.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    out = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="'Set/HR/evil.png' in it is not a plain file"):
        unpack(put(out.getvalue()), place, {"Set/HR": 0})


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_before_it_fills_the_disk(put, place, kind, monkeypatch):
    monkeypatch.setattr("srkit.data.archives.ALLOWANCE", 1_000_000)
    files = {f"Set/HR/{i}.png": bytes(10_000_000) for i in range(3)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(DataError, match="is refused: it would unpack to more than"):
        unpack(put(out.getvalue() if kind == "zip" else tarred(files, "w:gz")), place, {"Set/HR": 0})
    assert [p.name for p in place.iterdir()] == ["archive"]


def test_a_zip_that_declares_less_than_it_holds_is_refused(put, place):
    whole = bytearray(zipped({"Set/HR/a.png": picture(1)}))
    size = len(picture(1))
    changed = bytes(whole).replace(size.to_bytes(4, "little"), (size - 100).to_bytes(4, "little"))
    assert changed != whole
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(put(changed), place, {"Set/HR": 0})
    assert [p.name for p in place.iterdir()] == ["archive"]


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        (kind, damage)
        for kind in PACKERS
        for damage in ("cut", "flipped", "page")
        if (kind, damage) != ("tar", "flipped")
    ],
)
def test_a_damaged_archive_leaves_nothing(put, place, kind, damage):
    """A plain tar has no checksum of its contents: that is what the SHA-256 is for."""
    whole = PACKERS[kind](FILES)
    if damage == "cut":
        whole = whole[: len(whole) * 2 // 3]
    elif damage == "flipped":
        middle = len(whole) // 2
        whole = whole[:middle] + bytes(b ^ 0xFF for b in whole[middle : middle + 400]) + whole[middle + 400 :]
    else:
        whole = b"<html>not here</html>"
    path = put(whole)
    with pytest.raises(DataError, match=str(path)):
        unpack(path, place, {"Set/HR": 2, "Set/LR": 1})
    assert [p.name for p in place.iterdir()] == ["archive"]


def test_an_encrypted_zip_is_told(put, place):
    whole = bytearray(zipped({"Set/HR/a.png": picture(1)}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(signature) + offset] |= 1
    with pytest.raises(DataError, match="encrypted"):
        unpack(put(bytes(whole)), place, {"Set/HR": 0})


def test_too_few_pictures_or_none_where_they_should_be(put, place):
    path = put(zipped(FILES))
    with pytest.raises(DataError, match="has 2 pictures in 'Set/HR', where 800 should be; its folders are Set/HR, "):
        unpack(path, place, {"Set/HR": 800})
    with pytest.raises(DataError, match="has 0 pictures in 'Sets/HR', where some should be"):
        unpack(path, place, {"Sets/HR": 0})
    assert [p.name for p in place.iterdir()] == ["archive"]


def test_what_is_in_the_folder_already_stays(put, place):
    (place / "Set/HR").mkdir(parents=True)
    (place / "Set/HR/mine.txt").write_text("mine")
    (place / "Set/HR/a.png").write_bytes(picture(9))
    path = put(zipped(FILES))
    unpack(path, place, {"Set/HR": 2, "Set/LR": 1})
    path.unlink()
    assert everything(place) == {**FILES, "Set/HR/mine.txt": b"mine"}


def test_a_folder_may_be_a_link_to_another_disk(put, place, tmp_path):
    (tmp_path / "disk").mkdir()
    (place / "Set").symlink_to(tmp_path / "disk")
    unpack(put(tarred(FILES)), place, {"Set/HR": 2})
    assert sorted(everything(tmp_path / "disk")) == ["HR/a.png", "HR/deep/b.png"]


@pytest.fixture
def archive(server) -> Archive:
    server.files["set.zip"] = zipped(FILES)
    return Archive(url=f"{server.url}/set.zip", folders={"Set/HR": 2, "Set/LR": 0}, into="Mine")


def test_fetched_once_recorded_and_compared(server, archive, place):
    assert not is_there(archive, place)
    assert fetch_archive(archive, place) == {"Set/HR": 2, "Set/LR": 1}
    assert is_there(archive, place)
    record = json.loads((place / "Mine/checksums.json").read_text())["set.zip"]
    assert (record["size"], record["pictures"]) == (len(server.files["set.zip"]), {"Set/HR": 2, "Set/LR": 1})
    assert {name for name in everything(place) if name.endswith(".zip")} == set(), "the archive is removed"
    (place / "Mine/Set/LR/ax2.png").unlink()
    assert not is_there(archive, place), "what was unpacked is counted"
    server.files["set.zip"] = zipped({**FILES, "Set/HR/c.png": picture(7)})
    with pytest.raises(ChecksumError, match="bytes, not"):
        fetch_archive(archive, place)
    server.files["set.zip"] = zipped({**FILES, "Set/LR/ax2.png": picture(8, 12, 16)})
    with pytest.raises(ChecksumError, match=f"has the SHA-256 .*, not {record['sha256']}"):
        fetch_archive(archive, place)
    assert fetch_archive(archive, place, force=True) == {"Set/HR": 2, "Set/LR": 1}
    assert (place / "Mine/Set/LR/ax2.png").read_bytes() == picture(8, 12, 16)


def test_its_own_folder_is_not_made_twice(archive, place):
    (place / "mine").mkdir()
    fetch_archive(archive, place / "mine")
    assert (place / "mine/Set/HR/a.png").is_file()
    assert is_there(archive, place / "mine")


def test_a_checksum_that_is_published_is_compared(server, archive, place):
    wrong = Archive(url=archive.url, folders=archive.folders, sha256="0" * 64)
    with pytest.raises(ChecksumError, match=f"not {'0' * 64}"):
        fetch_archive(wrong, place)
    assert not everything(place)


def test_a_page_or_a_broken_archive_is_not_recorded(server, archive, place):
    server.files["set.zip"] = b"no archive"
    with pytest.raises(DataError, match="is neither a zip nor a tar file; it is kept; --force downloads it again"):
        fetch_archive(archive, place)
    assert sorted(everything(place)) == ["Mine/set.zip"]


def test_a_mirror_has_it_under_its_file_name(server, archive, place):
    server.files["some/where/set.zip"] = server.files["set.zip"]
    elsewhere = Archive(url="http://example.invalid/deep/set.zip", folders=archive.folders)
    fetch_archive(elsewhere, place, mirror=f"{server.url}/some/where/")
    assert is_there(elsewhere, place)
    assert server.seen[0][0] == "/some/where/set.zip"


def test_an_archive_put_there_by_hand_is_unpacked(server, archive, place):
    (place / "Mine").mkdir()
    (place / "Mine/set.zip").write_bytes(server.files["set.zip"])
    fetch_archive(archive, place)
    assert is_there(archive, place)
    assert server.seen == []


def test_a_disk_that_cannot_be_written(server, archive, place):
    (place / "Mine").write_text("a file")
    with pytest.raises(SrkitError, match="cannot write"):
        fetch_archive(archive, place)


def test_pictures_put_there_by_hand_count(archive, place):
    (place / "Mine/Set/HR").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        assert not is_there(archive, place)
        (place / "Mine/Set/HR" / name).write_bytes(picture(1))
    assert is_there(archive, place)


def test_the_data_folder(monkeypatch, tmp_path):
    assert data_folder() != tmp_path
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path))
    assert data_folder() == tmp_path


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://example.com/a.zip"}, {"url": "https://example.com/"}, {"url": "https://example.com/a.zip?x=1"},
        {"folders": {}}, {"folders": {"../a": 1}}, {"folders": {"/a": 1}}, {"folders": {"a\\b": 1}}, {"into": ".."},
        {"sha256": "123"},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_description_is_told_to_its_author(wrong):
    right = {"url": "https://example.com/a.zip", "folders": {"HR": 1}}
    Archive(**right)
    with pytest.raises(ValueError, match="archive's|sha256"):
        Archive(**{**right, **wrong})
