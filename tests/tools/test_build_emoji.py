"""The archives here are npm packages in small: the same members, with squares for drawings."""

import io
import json
import sys
import tarfile

import numpy as np
import pytest

from data import arrays
from tools import build_emoji

CATEGORIES = {"Smileys & Emotion": "smileys", "Food & Drink": "food"}


def square(colour: str, size: int) -> dict:
    return {"body": f'<rect width="{size}" height="{size}" fill="{colour}"/>'}


def write_package(folder, style, icons, categories, **defaults):
    members = {
        "icons": {"prefix": style, "icons": icons, **defaults},
        "metadata": {"categories": categories},
        "package": {"name": f"@iconify-json/{style}"},
    }
    path = folder / f"iconify-json-{style}-{build_emoji.STYLES[style]}.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}.json")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def archives(tmp_path):
    """Five packages; each style has a face, a tone of it, a fruit, and an emoji of no class."""
    for number, style in enumerate(build_emoji.STYLES):
        tone = "face-dark" if style == "fluent-emoji-flat" else "face-dark-skin-tone"
        icons = {
            "face": square(f"#ff{number}000", 36),
            tone: square("#640", 36),
            "apple": square(f"#0{number}f000", 36) | {"height": 18},
            "modifier": square("#000", 36),
        }
        # One style calls an apple a face.
        fruit = "Smileys & Emotion" if style == "noto" else "Food & Drink"
        categories = {"Smileys & Emotion": ["face", tone], "Component": ["modifier"]}
        categories.setdefault(fruit, []).append("apple")
        write_package(tmp_path, style, icons, categories, width=36, height=36)
    return tmp_path


def test_icons_are_whole_svg_without_skin_tones(archives):
    path = archives / "iconify-json-twemoji-1.2.5.tgz"
    icons, classes = build_emoji.read_package(path, "twemoji")
    assert [icon.name for icon in icons] == ["face", "apple", "modifier"]
    assert 'viewBox="0 0 36 36"' in icons[0].svg and 'viewBox="0 0 36 18"' in icons[1].svg
    assert icons[0].svg.startswith("<svg xmlns=") and icons[0].svg.endswith("/></svg>")
    assert classes["apple"] == "food" and "modifier" not in classes


def test_words_that_only_look_like_tones_stay(tmp_path):
    names = ["square-medium", "cloud-light", "hand", "hand-medium-light", "hand-dark"]
    write_package(tmp_path, "noto", {name: square("red", 16) for name in names}, {})
    icons, _ = build_emoji.read_package(tmp_path / "iconify-json-noto-1.2.9.tgz", "noto")
    assert [icon.name for icon in icons] == ["square-medium", "cloud-light", "hand"]
    assert 'viewBox="0 0 16 16"' in icons[0].svg


def test_an_emoji_has_the_class_that_most_styles_give_it(archives):
    found = list(build_emoji.collect(archives))
    assert [(icon.name, icon.style) for icon, _ in found] == [
        (name, style) for name in ("apple", "face") for style in sorted(build_emoji.STYLES)
    ]
    labels = [build_emoji.CLASS_NAMES[label] for _, label in found]
    assert labels == ["food"] * 5 + ["smileys"] * 5


def test_all_genders_of_an_emoji_are_in_one_split():
    for names in (
        ("artist", "man-artist", "woman-artist"),
        ("person-walking", "man-walking", "woman-walking"),
    ):
        assert len({build_emoji.is_tested(name) for name in names}) == 1
    tested = np.mean([build_emoji.is_tested(f"emoji-{k}") for k in range(2000)])
    assert abs(tested - 0.1) < 0.02


def drawn(svg: str, size: int) -> np.ndarray:
    """In place of `draw`: an image that depends on the text alone; blank for blank text."""
    if "blank" in svg:
        return np.full((size, size, 3), 255, np.uint8)
    return np.random.default_rng(list(svg.encode())).integers(0, 256, (size, size, 3), np.uint8)


def test_blank_and_equal_images_are_left_out(monkeypatch):
    monkeypatch.setattr(build_emoji, "draw", drawn)
    monkeypatch.setattr(build_emoji, "is_tested", lambda name: name.startswith("t"))
    names = ["a", "b", "blank", "b again", "t1", "t2", "c"]
    icons = [(build_emoji.Icon("noto", name, name.split()[0]), len(name) % 9) for name in names]
    arrays = build_emoji.build(icons, 4)
    assert sorted(arrays["train_names"]) == ["noto/a", "noto/b", "noto/c"]
    assert sorted(arrays["test_names"]) == ["noto/t1", "noto/t2"]
    for split in ("train", "test"):
        parts = (arrays[f"{split}_{what}"] for what in ("names", "images", "labels"))
        for name, image, label in zip(*parts, strict=True):
            text = name.removeprefix("noto/")
            assert np.array_equal(image, drawn(text, 4)) and label == len(text) % 9
    assert arrays["train_labels"].dtype == np.uint8


def run(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["build_emoji", *map(str, arguments)])
    build_emoji.main()


def test_the_program_writes_a_data_file_for_each_size(archives, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build_emoji, "draw", drawn)
    monkeypatch.setattr(build_emoji, "is_tested", lambda name: name == "apple")
    out = tmp_path / "out"
    run(monkeypatch, "--archives", archives, "--out", out, "--sizes", "4,8")
    train, test = arrays(out / "emoji_8.npz"), arrays(out / "emoji_8.npz", "test")
    assert (train.shape, len(train), len(test)) == ((8, 8, 3), 5, 5)
    assert {train.class_names[k] for k in train.labels} == {"smileys"}
    assert {test.class_names[k] for k in test.labels} == {"food"}
    assert "5 test: activities 0" in capsys.readouterr().out
    first = (out / "emoji_4.npz").read_bytes()
    run(monkeypatch, "--archives", archives, "--out", out, "--sizes", "4")
    assert (out / "emoji_4.npz").read_bytes() == first


def test_the_packages_are_named_for_npm(monkeypatch, capsys):
    run(monkeypatch, "--packages")
    named = capsys.readouterr().out.split()
    assert named[0] == "@iconify-json/noto@1.2.9" and len(named) == 5


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda folder: None, ("--sizes", "32,x"), "sizes: got '32,x', expected numbers"),
        (lambda folder: None, ("--sizes", "0"), "sizes: got '0', expected numbers of at least 1"),
        (
            lambda folder: (folder / "iconify-json-noto-1.2.9.tgz").unlink(),
            (),
            "it lacks iconify-json-noto-1.2.9.tgz; `npm pack @iconify-json/noto@1.2.9`",
        ),
        (
            lambda folder: (folder / "iconify-json-emojione-1.2.3.tgz").write_bytes(b"no"),
            (),
            "iconify-json-emojione-1.2.3.tgz is not a whole npm package",
        ),
    ],
)
def test_bad_input_ends_in_one_line(archives, monkeypatch, capsys, spoil, options, message):
    spoil(archives)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--archives", archives, *options)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and message in said[0] and ended.value.code == 2


def test_without_a_folder_or_the_drawing_library_it_says_so(archives, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch)
    assert "archives: got nothing" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(SystemExit):
        run(monkeypatch, "--archives", archives, "--sizes", "4")
    assert "`make emoji` installs it" in capsys.readouterr().err


def test_a_drawing_keeps_its_shape_and_colours_on_white():
    pytest.importorskip("resvg_py")
    head = f'<svg {build_emoji.NAMESPACES} viewBox="0 0 36 18">'
    red = build_emoji.draw(f'{head}<rect width="36" height="18" fill="#f00"/></svg>', 32)
    assert red.shape == (32, 32, 3) and red.dtype == np.uint8
    expected = np.full((32, 32, 3), 255, np.uint8)
    expected[9:23, 2:30, 1:] = 0  # 28 x 14 pixels in the middle
    assert np.array_equal(red, expected)
    half = build_emoji.draw(
        f'{head}<rect width="36" height="18" fill="#f00" fill-opacity=".5"/></svg>', 32
    )
    assert np.abs(half[16, 16].astype(int) - [255, 127, 127]).max() <= 1
