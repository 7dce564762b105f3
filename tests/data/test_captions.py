import json

import numpy as np
import pytest
from PIL import Image

from data import SOURCES, Captions, Loader, Transform, folder
from data.captions import caption_of, read_captions
from data.space import Pixels
from options.errors import InvalidValue

TEXTS = {"1.png": "a small house", "2.png": "a cat", "deep/3.png": "two cats, one dog"}


def images(folder, names=tuple(TEXTS)):
    for k, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colours = np.random.default_rng(k).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(colours).save(path)


def rows(texts, form):
    return "".join(form(file, text) + "\n" for file, text in texts.items())


WRITTEN = {
    "captions.txt": rows(TEXTS, lambda f, t: f"{f}\t{t}"),
    "captions.tsv": rows(TEXTS, lambda f, t: f"./{f}\t {t} "),
    "captions.csv": "image,caption\n" + rows(TEXTS, lambda f, t: f'{f},"{t}"'),
    "metadata.csv": "file_name,split,text\n" + rows(TEXTS, lambda f, t: f'{f},x,"{t}"'),
    "metadata.jsonl": rows(TEXTS, lambda f, t: json.dumps({"file_name": f, "text": t, "n": 1})),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_form_of_captions_is_read(tmp_path, name):
    images(tmp_path)
    (tmp_path / name).write_text(WRITTEN[name], encoding="utf-8-sig")
    source = SOURCES["captions"](str(tmp_path)).read()
    assert source.texts == [*TEXTS.values()]
    assert [source.key(k) for k in range(3)] == [*TEXTS] and source.unsplit
    assert source.shape == (8, 8, 3) and folder(tmp_path, classes=False).report.left_out == {}
    record = source[2]
    assert source.alphabet.decode(record["text"]) == TEXTS["deep/3.png"]
    assert np.array_equal(record["image"], source.take(np.array([2]))["image"][0])
    batch = next(Loader(source, 3, Transform(space=Pixels()), shuffle=False))
    assert batch["text"].shape == (3, 17) and "writer" not in batch


@pytest.mark.parametrize("above", [False, True])
def test_splits_have_captions_in_them_or_above(tmp_path, above):
    for split, text in (("train", "one two"), ("test", "two")):
        images(tmp_path / split, ["a.png", "b.png"])
        if not above:
            (tmp_path / split / "captions.txt").write_text(f"a.png\t{text}\nb.png\t{text}\n")
    if above:
        names = [f"{s}/{n}.png" for s in ("train", "test") for n in "ab"]
        (tmp_path / "captions.txt").write_text(
            "".join(f"{n}\t{'one two' if 'train' in n else 'two'}\n" for n in names)
        )
    source = Captions(str(tmp_path)).read("test")
    assert source.texts == ["two", "two"] and not source.unsplit
    assert source.alphabet.characters == " enotw" and source.tokens.shape == (2, 7)


def test_missing_and_surplus_captions_are_one_error_each(tmp_path):
    images(tmp_path)
    file = tmp_path / "captions.txt"
    file.write_text("1.png\ta house\n")
    with pytest.raises(InvalidValue, match=r"captions: got 2 images without one: 2.png, deep/3"):
        Captions(str(tmp_path)).read()
    file.write_text(WRITTEN["captions.txt"] + "4.png\tx\n5.png\ty\n")
    with pytest.raises(InvalidValue, match=r"captions: got 2 without an image: 4.png, 5.png"):
        Captions(str(tmp_path)).read()


def test_the_caption_of_a_damaged_image_is_left_out_with_it(tmp_path):
    images(tmp_path)
    (tmp_path / "2.png").write_bytes(b"nothing")
    (tmp_path / "captions.txt").write_text(WRITTEN["captions.txt"])
    assert Captions(str(tmp_path)).read().texts == ["a small house", "two cats, one dog"]


def test_longer_captions_are_left_out_and_counted(tmp_path):
    images(tmp_path)
    (tmp_path / "captions.txt").write_text(WRITTEN["captions.txt"])
    source = Captions(str(tmp_path), characters=13).read()
    assert source.texts == ["a small house", "a cat"] and source.tokens.shape == (2, 13)
    assert source.remark == "1 of 3 captions are longer than 13 characters, and left out"
    assert [source.key(k) for k in range(2)] == ["1.png", "2.png"]
    assert source.checksum() != Captions(str(tmp_path)).read().checksum()
    with pytest.raises(InvalidValue, match="characters: got .* at most 2"):
        Captions(str(tmp_path), characters=2).read()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("captions.txt", "a.png no tab\n", r"row 1 of .*a.png no tab"),
        ("captions.txt", "a.png\tx\n\nb.png\t \n", "row 3 of .*expected a file name and a cap"),
        ("captions.txt", "a.png\tx\n./a.png\ty\n", "row 2 of .*expected each file once"),
        ("captions.txt", "\n", "expected at least one caption"),
        ("captions.csv", "name,words\na.png,x\n", r"got the columns \['name', 'words'\]"),
        ("captions.csv", "file,text\na.png,x,y\n", "row 2 of"),
        ("metadata.jsonl", '{"file_name": "a.png"}\n', "row 1 of"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": 3}\n', "row 1 of"),
        ("metadata.jsonl", "[1]\n", "row 1 of"),
    ],
)
def test_a_row_that_is_none_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidValue, match=f"^captions: .*{message}"):
        read_captions(tmp_path / name)


def test_none_or_several_files_of_captions_are_refused(tmp_path):
    images(tmp_path)
    with pytest.raises(InvalidValue, match="^captions: got none in .*captions.txt, captions.tsv"):
        Captions(str(tmp_path)).read()
    for name in ("captions.txt", "metadata.jsonl"):
        (tmp_path / name).write_text(WRITTEN[name])
    with pytest.raises(InvalidValue, match=r"got \['captions.txt', 'metadata.jsonl'\] in .*one of"):
        Captions(str(tmp_path)).read()
    (tmp_path / "captions.txt").write_bytes(b"a.png\t\xff\xfe\n")
    with pytest.raises(InvalidValue, match="expected a file of UTF-8 text"):
        read_captions(tmp_path / "captions.txt")


def test_emoji_are_captioned_by_their_names():
    assert caption_of("noto/cat-face") == "cat face" == caption_of("cat_face")
    train, test = (Captions(replacement=" ").read(split) for split in ("train", "test"))
    assert len(train) == 7016 and len(test) == 760 and train.shape == (32, 32, 3)
    assert train.class_names[2] == "flags" and train.alphabet.characters == test.alphabet.characters
    cats = [k for k, text in enumerate(train.texts) if text == "cat face"]
    assert cats and all(train.class_names[train[k]["label"]] == "animals" for k in cats)
    assert train.tokens.shape[1] == max(map(len, train.texts))


def test_arrays_have_captions_of_their_own(tmp_path):
    pixels, path = np.zeros((3, 4, 4, 1), np.uint8), tmp_path / "a.npz"
    arrays = {"train_images": pixels, "train_texts": np.array(["a", "b c", "d"])}
    np.savez(path, **arrays)
    assert Captions(str(path)).read().texts == ["a", "b c", "d"]
    np.savez(tmp_path / "b.npz", **arrays | {"train_texts": np.array(["a"])})
    with pytest.raises(InvalidValue, match="captions: got 1 for 3 examples"):
        Captions(str(tmp_path / "b.npz")).read()
    np.savez(tmp_path / "c.npz", train_images=pixels)
    with pytest.raises(InvalidValue, match="captions: .*expected an array train_texts"):
        Captions(str(tmp_path / "c.npz")).read()
