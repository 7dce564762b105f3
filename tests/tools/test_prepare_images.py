"""Published sets in small: the same names, folders, lists and databases as the real ones have."""

import io
import json
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from data import folder
from data.image_folder import Folder
from options.errors import InvalidValue, NotInstalled
from tools import prepare_images
from tools.image_sets import AFHQ, FFHQ, LSUN, SETS, CelebA, CelebAHQ
from tools.prepare_images import prepare

RANDOM = np.random.default_rng(0)


def picture(size, channels=3):
    """(height, width, channels)."""
    return RANDOM.integers(0, 256, (*size, channels), np.uint8)


def smooth(size, level):
    return np.full((*size, 3), level, np.uint8)


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def zipped(source, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(source.rglob("*")):
            archive.write(file, file.relative_to(source.parent))
    return path


# CelebA: 178 x 218 JPEG, numbered from 000001; lists with one line a file.

NAMES = [f"{i:06}.jpg" for i in range(1, 9)]
SPLIT_OF = [0, 0, 0, 0, 1, 2, 2, 0]
ATTRIBUTES = ["5_o_Clock_Shadow", "Male", "Smiling"]
VALUES = RANDOM.choice([-1, 1], (8, 3))
VALUES[:2, 1:] = [[1, 1], [-1, 1]]
VALUES[4:7] = VALUES[0]  # so that no class is of a test image alone


def celeba(root, csv=False, as_zip=False):
    for i, name in enumerate(NAMES[:-1]):  # the last one is missing
        image = encoded(smooth((218, 178), 20 * i), "JPEG", quality=95)
        put(root / "Img" / "img_align_celeba" / name, image)
    rows = list(zip(NAMES, SPLIT_OF, VALUES, strict=True))
    if csv:
        partition = ["image_id,partition", *(f"{name},{split}" for name, split, _ in rows)]
        table = [",".join(["image_id", *ATTRIBUTES])]
        table += [",".join([name, *map(str, values)]) for name, _, values in rows]
    else:
        partition = [f"{name} {split}" for name, split, _ in rows]
        table = [str(len(rows)), " ".join(ATTRIBUTES) + " "]
        table += [f"{name}  {'  '.join(f'{v:2}' for v in values)}" for name, _, values in rows]
    ending = "csv" if csv else "txt"
    put(root / "Eval" / f"list_eval_partition.{ending}", "\n".join(partition).encode())
    put(root / "Anno" / f"list_attr_celeba.{ending}", "\n".join([*table, ""]).encode())
    if as_zip:
        images = root / "Img" / "img_align_celeba"
        zipped(images, root / "Img" / "img_align_celeba.zip")
        for file in images.iterdir():
            file.unlink()
        images.rmdir()
    return root


@pytest.mark.parametrize("form", ["folders", "csv", "zip"])
def test_celeba_in_each_form(tmp_path, form):
    source = celeba(tmp_path / "celeba", csv=form == "csv", as_zip=form == "zip")
    found = prepare(CelebA(), source, tmp_path / "out")
    assert found.images == {"train": 4, "val": 1, "test": 2}
    assert found.missing == ("000008.jpg",) and not found.damaged
    train = Folder(str(tmp_path / "out")).read("train")
    assert (train.shape, train.files) == ((64, 64, 3), tuple(f"00000{i}.png" for i in range(1, 5)))
    assert [int(train[i]["image"].mean()) for i in range(4)] == [0, 20, 40, 60]
    assert len(Folder(str(tmp_path / "out")).read("test")) == 2
    report = json.loads((tmp_path / "out" / ".prepared.json").read_text())
    assert report["missing"] == ["000008.jpg"]


def test_celeba_is_cropped_as_published_and_attributes_are_classes(tmp_path):
    source = celeba(tmp_path / "celeba")
    image = smooth((218, 178), 10)
    image[39:179, 19:159] = 250  # the central 140 x 140
    for name in NAMES[:-1]:
        put(source / "Img" / "img_align_celeba" / name, encoded(image))  # PNG, whatever its name
    prepare(CelebA(attributes="Male, Smiling"), source, tmp_path / "out")
    train = Folder(str(tmp_path / "out")).read("train")
    assert {"Male+Smiling", "no_Male+Smiling"} <= set(train.class_names)
    labels = dict(zip(train.files, train.labels, strict=True))
    assert train.class_names[labels["Male+Smiling/000001.png"]] == "Male+Smiling"
    assert all((train[i]["image"] == 250).all() for i in range(len(train)))
    with pytest.raises(InvalidValue, match="attributes: got 'Smilin', expected .*did you mean 'Sm"):
        prepare(CelebA(attributes="Smilin"), source, tmp_path / "other")


def test_celeba_is_resized_with_antialiasing(tmp_path):
    """Means of 35 x 35 squares of stripes are grey; without antialiasing they are not."""
    image = smooth((218, 178), 0)
    image[::2] = 255
    source = celeba(tmp_path / "celeba")
    put(source / "Img" / "img_align_celeba" / NAMES[0], encoded(image))
    prepare(CelebA(size=4), source, tmp_path / "out")
    made = np.asarray(Image.open(tmp_path / "out" / "train" / "000001.png"))
    assert made.shape == (4, 4, 3) and abs(made.astype(int) - 127).max() <= 4


# CelebA-HQ: three forms.


def celebahq(root, form):
    for i in range(4):
        if form == "npy":
            file = io.BytesIO()
            np.save(file, picture((32, 32)).transpose(2, 0, 1)[None])
            put(root / f"imgHQ{i:05}.npy", file.getvalue())
        elif form == "mask":
            put(root / "CelebA-HQ-img" / f"{i}.jpg", encoded(picture((32, 32)), "JPEG"))
            mask = encoded(picture((16, 16)))
            put(root / "CelebAMask-HQ-mask-anno" / "0" / f"{i:05}_hair.png", mask)
        else:
            put(root / "data1024x1024" / f"{i + 1:05}.jpg", encoded(picture((32, 32)), "JPEG"))
    return root


@pytest.mark.parametrize("form", ["npy", "mask", "numbered"])
@pytest.mark.parametrize("as_zip", [False, True])
def test_celebahq_in_each_form(tmp_path, monkeypatch, form, as_zip):
    monkeypatch.setattr(CelebAHQ, "count", 5)
    source = celebahq(tmp_path / "hq", form)
    arrays = [np.load(file)[0] for file in sorted(source.glob("*.npy"))]
    source = zipped(source, tmp_path / "hq.zip") if as_zip else source
    found = prepare(CelebAHQ(size=0 if arrays else 16), source, tmp_path / "out")
    assert found.images == {"": 4} and len(found.missing) == 1
    made = folder(tmp_path / "out")
    assert len(made) == 4 and made.num_classes == 0
    for i, array in enumerate(arrays):
        assert np.array_equal(made[i]["image"], array.transpose(1, 2, 0))


# FFHQ: folders of 1000.


def test_ffhq_has_the_published_splits(tmp_path, monkeypatch):
    monkeypatch.setattr(FFHQ, "count", 6)
    monkeypatch.setattr(FFHQ, "training", 3)
    for number in (0, 1, 2, 4, 5):
        path = tmp_path / "images1024x1024" / f"{number // 2 * 1000:05}" / f"{number:05}.png"
        put(path, encoded(smooth((32, 32), 10 * number)))
    source = tmp_path / "images1024x1024"
    put(source / "LICENSE.txt", b"CC BY-NC-SA 4.0")
    found = prepare(FFHQ(size=16), zipped(source, tmp_path / "ffhq.zip"), tmp_path / "out")
    assert (found.images, found.missing) == ({"train": 3, "test": 2}, ("3",))
    test = Folder(str(tmp_path / "out")).read("test")
    assert [int(test[i]["image"].mean()) for i in range(2)] == [40, 50]
    # A part without test images is one set, of which a run holds some out.
    for path in source.rglob("0000[45].png"):
        path.unlink()
    assert prepare(FFHQ(size=16), source, tmp_path / "part").images == {"": 3}
    put(tmp_path / "images1024x1024" / "thumbnails128x128" / "00001.png", encoded(picture((8, 8))))
    with pytest.raises(InvalidValue, match="source: got .*two images of one number"):
        prepare(FFHQ(size=16), source, tmp_path / "two")


# AFHQ: two versions.


@pytest.mark.parametrize(("held_out", "kind"), [("val", "jpg"), ("test", "png")])
def test_afhq_in_both_versions(tmp_path, held_out, kind):
    for split, count in (("train", 3), (held_out, 2)):
        for label in ("cat", "dog", "wild"):
            for i in range(count):
                path = tmp_path / "afhq" / split / label / f"flickr_{label}_{i:06}.{kind}"
                put(path, encoded(picture((24, 24)), {"jpg": "JPEG", "png": "PNG"}[kind]))
    found = prepare(AFHQ(size=16), tmp_path / "afhq", tmp_path / "out")
    assert found.images == {f"train/{k}": 3 for k in AFHQ.classes} | {
        f"test/{k}": 2 for k in AFHQ.classes
    }
    source = Folder(str(tmp_path / "out"), size=(16, 16)).read("test")
    assert source.class_names == ("cat", "dog", "wild") and len(source) == 6


# LSUN: LMDB of webp bytes by hash.


def lsun(root, databases):
    lmdb = pytest.importorskip("lmdb")
    images = {}
    root.mkdir()
    for name, count in databases.items():
        with lmdb.open(str(root / name), map_size=2**24) as database:
            with database.begin(write=True) as transaction:
                for _ in range(count):
                    key = bytes(RANDOM.integers(0, 256, 20, np.uint8)).hex()
                    images[key] = picture((32, 48))
                    content = encoded(images[key], "WEBP", lossless=True)
                    transaction.put(key.encode(), content)
    return images


def test_lsun_is_read_from_its_databases(tmp_path):
    databases = {"church_outdoor_train_lmdb": 5, "church_outdoor_val_lmdb": 2}
    images = lsun(tmp_path / "lsun", databases)
    found = prepare(LSUN(size=32), tmp_path / "lsun", tmp_path / "out")
    assert found.images == {"train": 5, "test": 2} and not found.missing
    for path in (tmp_path / "out").rglob("*.png"):
        assert np.array_equal(np.asarray(Image.open(path)), images[path.stem][:, 8:40])


def test_several_categories_of_lsun_are_classes(tmp_path):
    lsun(tmp_path / "lsun", {"bedroom_train_lmdb": 2, "kitchen_train_lmdb": 1})
    found = prepare(LSUN(size=8), tmp_path / "lsun", tmp_path / "out")
    assert found.images == {"bedroom": 2, "kitchen": 1}
    assert found.missing == ("a test database",)
    damaged = tmp_path / "cut" / "bedroom_train_lmdb"
    put(damaged / "data.mdb", b"cut off")
    with pytest.raises(InvalidValue, match="source: got .*cannot be opened"):
        prepare(LSUN(), tmp_path / "cut", tmp_path / "none")


def test_without_lmdb_its_extra_is_named(tmp_path, monkeypatch):
    put(tmp_path / "church_outdoor_train_lmdb" / "data.mdb", b"")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(NotInstalled, match=r"lmdb is not installed: pip install .*\[lsun\]"):
        prepare(LSUN(), tmp_path, tmp_path / "out")


# What all have.


def ffhq_of(root, count=4):
    for i in range(count):
        put(root / "00000" / f"{i:05}.png", encoded(smooth((16, 16), i)))
    return root


def test_damaged_images_are_counted_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(FFHQ, "count", 4)
    source = ffhq_of(tmp_path / "ffhq")
    (source / "00000" / "00001.png").write_bytes(b"")
    whole = (source / "00000" / "00002.png").read_bytes()
    (source / "00000" / "00002.png").write_bytes(whole[: len(whole) // 2])
    found = prepare(FFHQ(size=8), source, tmp_path / "out")
    assert found.images == {"": 2} and found.damaged.keys() == {"00001", "00002"}
    assert found.damaged["00001"] == "empty file"
    assert str(found) == "images: 2\n2 damaged: 00001, 00002"
    for path in source.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(InvalidValue, match="source: got .*no image can be read: not an image"):
        prepare(FFHQ(size=8), source, tmp_path / "none")


def test_a_damaged_zip_is_named(tmp_path):
    source = zipped(ffhq_of(tmp_path / "ffhq"), tmp_path / "ffhq.zip")
    content = bytearray(source.read_bytes())
    at = content.index(b"IDAT") + 6
    content[at : at + 4] = b"\0\0\0\0"  # of the first image, whose checksum is wrong now
    source.write_bytes(content)
    found = prepare(FFHQ(size=8), source, tmp_path / "out")
    assert list(found.damaged) == ["00000"] and "CRC" in found.damaged["00000"]
    source.write_bytes(content[:100])
    with pytest.raises(InvalidValue, match="source: got .*ffhq.zip', expected a folder or a whole"):
        prepare(FFHQ(size=8), source, tmp_path / "none")


def test_what_was_cut_off_goes_on(tmp_path, monkeypatch):
    source, out = ffhq_of(tmp_path / "ffhq"), tmp_path / "out"
    write = prepare_images.write_png
    written = []

    def cut_off(path, image):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, image)

    monkeypatch.setattr(prepare_images, "AT_ONCE", 1)
    monkeypatch.setattr(prepare_images, "write_png", cut_off)
    with pytest.raises(KeyboardInterrupt):
        prepare(FFHQ(size=8), source, out)
    assert not out.exists() and written == ["00000.png", "00001.png"]
    with pytest.raises(InvalidValue, match="out: got .*begun otherwise"):
        prepare(FFHQ(size=4), source, out)
    written.clear()
    monkeypatch.setattr(
        prepare_images, "write_png", lambda p, x: (written.append(p.name), write(p, x))
    )
    assert prepare(FFHQ(size=8), source, out).images == {"": 4}
    assert written == ["00002.png", "00003.png"]
    assert len(folder(out)) == 4 and {p.name for p in tmp_path.iterdir()} == {"ffhq", "out"}
    with pytest.raises(InvalidValue, match="out: got .*expected a folder that is not there yet"):
        prepare(FFHQ(size=8), source, out)


@pytest.mark.parametrize("name", SETS)
def test_a_folder_of_something_else_is_one_clear_error(tmp_path, name):
    put(tmp_path / "holidays" / "beach.jpeg", encoded(picture((8, 8)), "JPEG"))
    with pytest.raises(
        InvalidValue, match="source: got .*holidays, which has beach.jpeg, expected"
    ):
        prepare(SETS[name](), tmp_path / "holidays", tmp_path / "out")
    with pytest.raises(InvalidValue, match="source: got .*holiday', expected a folder"):
        prepare(SETS[name](), tmp_path / "holiday", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"holidays"}


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(FFHQ, "count", 4)
    ffhq_of(tmp_path / "ffhq")
    command = ["prepare_images", "ffhq", "--source", str(tmp_path / "ffhq"), "--size", "8"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path / "out")])
    prepare_images.main()
    assert capsys.readouterr().out == f"images: 4\n{tmp_path / 'out'}\n"
    monkeypatch.setattr(sys, "argv", [*command, "--out", "x", "--attributes", "Male"])
    with pytest.raises(SystemExit):
        prepare_images.main()
    assert "attributes: got 'Male', but ffhq has none" in capsys.readouterr().err
