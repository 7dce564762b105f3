"""Published layouts, from the file to outputs that their own implementations recorded."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import serialization

from experiment import kinds
from options.errors import UserError
from storage import weights
from tools import export_weights
from tools import import_checkpoint as tool
from tools.import_checkpoint import Wanted, import_checkpoint
from tools.published.checkpoint import Compared

# What the other implementation's own float32 is off by, with room, relative to the largest value.
EXACT = 1e-5


def pth(golden, tmp_path, which):
    z = golden("checkpoint_tiny_expected")
    out = z["out_ema" if which == "average" else "out_model"]
    return {"x": z["x"], "cond": z["cond"], "out": out}, {"image_size": 16}


def flax(golden, tmp_path, which):
    """The configuration of theirs is in the record, as JSON."""
    folder = os.environ["IMPORTED"]
    z = golden(f"{folder}/expected")
    official = tmp_path / "official.json"
    official.write_text(json.dumps(json.loads(str(z["info_json"]))["config"]))
    out = z["out_ema_flax031" if which == "average" else "out_model_flax031"]
    return {"x": z["x"], "cond": z["cond"], "out": out}, {"official_config": str(official)}


def diffusers(golden, tmp_path, which):
    z = golden("diffusers_ddpm/expected")
    return {k: z[k] for k in ("sample", "timestep", "out")}, {}


def skips(golden, tmp_path, which):
    """Of 32 channels, where diffusers' groups are others than those of the original."""
    z = golden("diffusers_ncsnpp/expected")
    out = z["out_official_groups"]
    return {"sample": z["sample"], "timestep": z["timestep"], "out": out}, {"force": True}


def edm(golden, tmp_path, which):
    return {k: v for k, v in golden(f"{os.environ['IMPORTED']}/expected").items()}, {}


CASES = {
    "diffusers_ddpm": diffusers,
    "edm_ddpmpp_cond/network.pkl": edm,
    "checkpoint_tiny.pth": pth,
    "legacy_flax_checkpoint/checkpoint_1": flax,
    "diffusers_ddpm_subfolders": diffusers,
    "diffusers_ncsnpp_legacy_keys": skips,
    "edm_ncsnpp_uncond/network.pkl": edm,
    "checkpoint_tiny_legacy_nonzip.pth": pth,
    "legacy_flax_checkpoint_ddpm/checkpoint_12": flax,
    "diffusers_ncsnpp": skips,
}
RAW = {pth, flax}
STEPS = {
    "checkpoint_tiny.pth": 5,
    "checkpoint_tiny_legacy_nonzip.pth": 5,
    "legacy_flax_checkpoint": 5,
    "legacy_flax_checkpoint_ddpm": 12345,
}


@pytest.mark.one_in(10)
@pytest.mark.parametrize("source", CASES)
def test_outputs_are_those_recorded(source, golden, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("IMPORTED", source.partition("/")[0])
    about = CASES[source]
    for which in ("average", "raw")[: 1 + (about in RAW)]:
        recorded, options = about(golden, tmp_path, which)
        np.savez(tmp_path / "recorded.npz", **{k: v for k, v in recorded.items() if v.dtype != "U"})
        wanted = Wanted(expected=str(tmp_path / "recorded.npz"), tolerance=EXACT, params=which)
        said = import_checkpoint(
            golden.path / source, tmp_path / "made.npz", replace(wanted, **options)
        )
        assert sum("differs by" in line for line in said) >= 1
        assert "differs by" not in caplog.text  # of which --force makes a warning
    assert weights.read_step(tmp_path / "made.npz") == STEPS.get(source.partition("/")[0], 0)


@pytest.mark.slow
def test_what_is_written_is_weights_like_any(golden, tmp_path):
    """Sampled, likelihood and control by the object of a trained model, and again as exported."""
    from experiment.pipeline import load

    made = tmp_path / "made.npz"
    import_checkpoint(golden.path / "edm_ddpmpp_cond/network.pkl", made)
    model = load(made, {"sampling.num_steps": 3})
    drawn = model.sample(4, labels=[1, 2])
    assert drawn.data.shape == (4, 16, 16, 3) and drawn.data.dtype == np.uint8
    assert np.isfinite(model.bits_per_dim(drawn.data[:1], labels=[1])).all()
    assert model.inpaint(drawn.data[:1], labels=[1], mask="half", results=2).results.shape[1] == 2


@pytest.fixture(scope="module")
def imported(golden, tmp_path_factory):
    """A DDPM of diffusers, imported."""
    made = tmp_path_factory.mktemp("imported") / "ddpm.npz"
    import_checkpoint(golden.path / "diffusers_ddpm", made)
    return made


def arrays_of(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files if name != "__meta__"}


@pytest.mark.parametrize("name", ["again.safetensors", "again"])
def test_what_is_exported_comes_back_with_the_same_bits(name, imported, tmp_path):
    assert export_weights.export(imported, tmp_path / name) == 0
    import_checkpoint(tmp_path / name, tmp_path / "back.npz")
    before, after = arrays_of(imported), arrays_of(tmp_path / "back.npz")
    assert before.keys() == after.keys()
    assert all((before[k].view(np.uint32) == after[k].view(np.uint32)).all() for k in before)
    metas = [weights.read_meta(path) for path in (imported, tmp_path / "back.npz")]
    assert metas[0] == metas[1]


def test_a_folder_of_diffusers_comes_back_as_it_was(golden, imported, tmp_path):
    from safetensors.numpy import load_file

    export_weights.export(imported, tmp_path / "again")
    theirs = golden.path / "diffusers_ddpm"
    before = load_file(theirs / "diffusion_pytorch_model.safetensors")
    after = load_file(tmp_path / "again/unet/diffusion_pytorch_model.safetensors")
    assert before.keys() == after.keys()
    assert all((before[k] == after[k]).all() and before[k].shape == after[k].shape for k in before)
    was = json.loads((theirs / "config.json").read_text())
    now = json.loads((tmp_path / "again/unet/config.json").read_text())
    assert {k: now.get(k) for k in was} == was
    was = json.loads((theirs / "scheduler_config.json").read_text())
    now = json.loads((tmp_path / "again/scheduler/scheduler_config.json").read_text())
    assert {k: was.get(k) for k in now} == pytest.approx(now)


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"model.attention_in_up": "level"}, "model.attention_in_up: got 'level'.*has only"),
        ({"process": "vp"}, "process: got 'vp', expected one of .'ddpm'"),
        ({"parameterization.output": "v"}, "parameterization.output: .*diffusers has only Noise"),
        ({"data.space.low": 0.0}, "data.space: got 0.0 to 1.0, expected pixels from -1 to 1"),
    ],
)
def test_what_diffusers_has_nothing_for_is_refused(change, expected, imported, tmp_path):
    from tools.published import to_diffusers

    experiment = kinds.open_experiment(imported, change)
    with pytest.raises(UserError, match=expected):
        to_diffusers.write(tmp_path / "folder", experiment, {}, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("source", ["diffusers_ddpm", "v_ve_skip64"])
def test_diffusers_loads_what_is_exported(source, golden, tmp_path):
    """Their package reads the folder and computes the same."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    package = pytest.importorskip("diffusers", reason="diffusers is not installed")
    made = imported_or_published(source, golden, tmp_path)
    export_weights.export(made, tmp_path / "folder")
    pipeline = package.DiffusionPipeline.from_pretrained(tmp_path / "folder")
    experiment = kinds.experiment(kinds.load(made))
    params = weights.load_weights(made, experiment.template)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *experiment.shape)).astype(np.float32)
    t = np.float32([7, 90])
    with torch.no_grad():
        theirs = pipeline.unet(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(t)).sample
    recorded = {"sample": x, "timestep": t, "out": np.asarray(theirs)}
    np.savez(tmp_path / "recorded.npz", **recorded)
    wanted = Wanted(expected=str(tmp_path / "recorded.npz"), tolerance=1e-4)
    import_checkpoint(tmp_path / "folder", tmp_path / "back.npz", wanted)
    (tmp_path / "folder/unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save(pipeline.unet.state_dict(), tmp_path / "folder/unet/diffusion_pytorch_model.bin")
    import_checkpoint(tmp_path / "folder", tmp_path / "bin.npz", wanted)
    for name in ("back.npz", "bin.npz"):
        found = arrays_of(tmp_path / name)
        pairs = zip(jax.tree.leaves(params), found.values(), strict=True)
        assert all((a == b).all() for a, b in pairs)


def imported_or_published(source, golden, tmp_path):
    """Weights of ours: imported, or of 128 channels, where groups are diffusers' too."""
    made = tmp_path / "made.npz"
    if (golden.path / source).is_dir():
        import_checkpoint(golden.path / source, made)
        return made
    config = kinds.load(
        "ve/church_256",
        {
            "model.ch_mult": (1, 1, 2),
            "model.num_res_blocks": 1,
            "data.image_size": (32, 32),
            "model.attn_resolutions": (16,),
        },
    )
    params = kinds.experiment(config).task.init(jax.random.key(0))
    meta = {"config": json.loads(config.to_json()), "step": 3}
    weights.export_weights(made, params, "float32", meta)
    return made


# What is no model, damaged, or means harm.


def safetensors(header, rest=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def packed(compression):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2) + bytes(2**20))
    return file.getvalue()


class Shell:
    def __reduce__(self):
        return os.system, ("touch owned",)


LIE = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}
ONE = {"Conv_0": {"kernel": np.zeros((3, 3, 3, 8), np.float32)}}
HOSTILE = {
    "a shell": (pickle.dumps({"ema": Shell()}), "it names posix.system"),
    "a lie": (safetensors(LIE, bytes(4)), "cannot be read"),
    "overlapping": (safetensors({k: v for k, v in LIE.items()} | {"b": LIE["a"]}), "cannot be"),
    "a long header": (struct.pack("<Q", 2**50) + b"{}", "begins with"),
    "a bomb": (packed(zipfile.ZIP_DEFLATED), "compressed"),
    "nothing": (b"", "begins with b''"),
    "a page": (b"<!doctype html>", "page of the web"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
    "text": (b"hello, weights", "begins with b'hello, w'"),
    "msgpack cut": (
        serialization.msgpack_serialize({"params_ema": {"a": np.ones(9)}})[:-4],
        "cannot",
    ),
    "msgpack of something": (
        serialization.msgpack_serialize({"other": 1}),
        "is something with other",
    ),
    "keras": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "guided": (
        pickle.dumps({"output_blocks.0.0.in_layers.0.weight": 1}, 2),
        "guided-diffusion's U-Net .Dhariwal",
    ),
    "a training of nothing": (
        serialization.msgpack_serialize({"optimizer": {"target": {}}, "params_ema": 3}),
        "is not what it seems",
    ),
    "one convolution": (
        serialization.msgpack_serialize({"optimizer": {"target": ONE}, "params_ema": ONE}),
        "score-SDE of Flax: 0 residual blocks and 1 convolutions are of no U-Net",
    ),
    "no average": (pickle.dumps({"model": {"all_modules.0.W": 1}, "ema": {}}, 2), "not what it"),
    "a number": (pickle.dumps(3, 2), "is something with int"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_model_ends_in_one_line(what, tmp_path, monkeypatch, capsys):
    content, expected = HOSTILE[what]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        tool.main(["file", "--out=made.npz"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("error: file: ") and said.count("\n") == 1
    assert expected.replace(".", " ") in said.replace(".", " ").replace("(", " "), said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "source",
    ["checkpoint_tiny.pth", "checkpoint_tiny_legacy_nonzip.pth", "edm_ddpmpp_cond/network.pkl"],
)
def test_a_file_that_was_cut_is_refused(source, golden, tmp_path):
    content = (golden.path / source).read_bytes()
    for length in (100, len(content) // 2, len(content) - 7):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(UserError, match="^file: .*cut cannot be read"):
            import_checkpoint(tmp_path / "cut", tmp_path / "made.npz")
    assert not (tmp_path / "made.npz").exists()


def test_a_configuration_that_fails_is_not_called_the_files_fault(golden, tmp_path):
    (tmp_path / "mine.py").write_text("def get_config():\n    return {} | 3\n")
    with pytest.raises(TypeError, match="unsupported operand"):
        import_checkpoint(
            golden.path / "checkpoint_tiny.pth",
            tmp_path / "made.npz",
            Wanted(config=str(tmp_path / "mine.py")),
        )


def test_another_network_than_the_file_is_refused_by_its_parameters(golden, tmp_path):
    wanted = Wanted(config="digits/vp_small")
    with pytest.raises(UserError, match="^file: score-SDE of PyTorch: it is not of this NCSNpp"):
        import_checkpoint(golden.path / "checkpoint_tiny.pth", tmp_path / "made.npz", wanted)
    assert not list(tmp_path.iterdir())


def folder_of(golden, tmp_path, **changes):
    """The DDPM of diffusers with other fields in its configuration."""
    theirs, made = golden.path / "diffusers_ddpm", tmp_path / "folder"
    made.mkdir()
    for file in theirs.iterdir():
        if file.suffix == ".json":
            fields = json.loads(file.read_text())
            own = {k: v for k, v in changes.items() if k in fields}
            (made / file.name).write_text(json.dumps(fields | own))
        elif file.suffix == ".safetensors":
            (made / file.name).symlink_to(file)
    return made


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"norm_eps": 1e-5}, "config.json.norm_eps: got 1e-05, but ours, ddpm, has 1e-06"),
        ({"attention_head_dim": 8}, "config.json.attention_head_dim: got 8"),
        ({"down_block_types": ["CrossAttnDownBlock2D"]}, "config.json.down_block_types: got"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "scheduler.beta_schedule: got"),
        ({"layers_per_block": 3}, "it is not of this DDPM: .*it lacks down_blocks.0.resnets.2"),
        ({"block_out_channels": [64, 64, 64]}, "conv_in.weight: got shape .32, 3, 3, 3."),
        ({"sample_size": None}, "config.json.sample_size: got None"),
    ],
)
def test_what_ours_has_nothing_for_is_named(changes, expected, golden, tmp_path):
    with pytest.raises(UserError, match=expected):
        import_checkpoint(folder_of(golden, tmp_path, **changes), tmp_path / "made.npz")
    assert not (tmp_path / "made.npz").exists()


class Recorded:
    """A checkpoint whose outputs are those given, and not ours."""

    def inexact(self, experiment):
        return ""

    def compared(self, experiment, params, given):
        return [Compared("out", 1.1 * given["out"], given["out"])]


def test_outputs_that_differ_are_refused_unless_forced(tmp_path, caplog):
    np.savez(tmp_path / "z.npz", out=np.float32([1, -2]), note="text")
    wanted = Wanted(expected=str(tmp_path / "z.npz"))
    with pytest.raises(UserError, match="^file: out differs by 0.1 of the largest value; --force"):
        tool._checked(Recorded(), None, {}, wanted)
    said = tool._checked(Recorded(), None, {}, replace(wanted, tolerance=0.2))
    assert said == ["out differs by 0.1 of the largest value, 0.2 allowed"]
    tool._checked(Recorded(), None, {}, replace(wanted, force=True))
    assert "out differs by" in caplog.text
    (tmp_path / "z.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="^expected: .*z.npz cannot be read"):
        tool._checked(Recorded(), None, {}, wanted)


def test_a_network_with_cross_attention_becomes_weights(golden, tmp_path):
    """What diffusers recorded, of a folder with a scheduler beside the network; sampled without a
    caption."""
    theirs = golden.path / "diffusers_unet_condition"
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        shutil.copy(theirs / name, tmp_path)
    scheduler = {"_class_name": "DDIMScheduler", "beta_start": 1e-4, "beta_end": 0.02}
    (tmp_path / "scheduler_config.json").write_text(json.dumps(scheduler))
    recorded = str(theirs / "expected.npz")
    made = tmp_path / "made.npz"
    said = import_checkpoint(tmp_path, made, Wanted(expected=recorded, tolerance=EXACT))
    assert "UNet2DConditionModel" in said[0] and any("out differs by" in line for line in said)
    experiment = kinds.open_experiment(made)
    assert experiment.shape == (16, 16, 4) and experiment.conditions[0].features == 24
    (tmp_path / "scheduler_config.json").unlink()
    with pytest.raises(UserError, match="scheduler: nothing says the process"):
        import_checkpoint(tmp_path, tmp_path / "other.npz")
