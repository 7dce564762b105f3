"""Official configurations are looked at, never run."""

import json

import pytest

from experiment import kinds
from options.errors import UserError
from tools import import_checkpoint as tool
from tools.import_checkpoint import official_sections, write_config
from tools.published import official_file

DEFAULTS = '''
"""Defaults, as theirs are written."""
import ml_collections
import torch


def get_default_configs():
  config = ml_collections.ConfigDict()
  # training
  config.training = training = ml_collections.ConfigDict()
  training.batch_size = 128
  training.n_iters = 1300001
  training.reduce_mean = False
  config.sampling = sampling = ml_collections.ConfigDict()
  sampling.n_steps_each = 1
  sampling.noise_removal = True
  sampling.probability_flow = False
  sampling.snr = 0.16
  config.data = data = ml_collections.ConfigDict()
  data.dataset = 'CIFAR10'
  data.image_size = 32
  data.random_flip = True
  data.centered = False
  data.uniform_dequantization = False
  data.num_channels = 3
  config.model = model = ml_collections.ConfigDict()
  model.sigma_min = 0.01
  model.sigma_max = 50
  model.num_scales = 1000
  model.beta_min = 0.1
  model.beta_max = 20.
  model.dropout = 0.1
  config.optim = optim = ml_collections.ConfigDict()
  optim.lr = 2e-4
  optim.warmup = 5 * 1000
  config.seed = 42
  config.device = torch.device('cuda:0') if torch.cuda.is_available() else torch.device('cpu')
  return config
'''.replace(" if torch.cuda.is_available() else torch.device('cpu')", "")
CONFIG = """
from configs.default_cifar10_configs import get_default_configs


def get_config():
  config = get_default_configs()
  training = config.training
  training.sde = 'vesde'
  training.continuous = True
  sampling = config.sampling
  sampling.method = 'pc'
  sampling.predictor = 'reverse_diffusion'
  sampling.corrector = 'langevin'
  model = config.model
  model.name = 'ncsnpp'
  model.scale_by_sigma = True
  model.ema_rate = 0.999
  model.normalization = 'GroupNorm'
  model.nf = 128
  model.ch_mult = (1, 2, 2, 2)
  model.num_res_blocks = 4
  model.attn_resolutions = (16,)
  model.fir = True
  model.fir_kernel = [1, 3, 3, 1]
  model.progressive = 'none'
  model.progressive_input = 'residual'
  model.embedding_type = 'fourier'
  model.fourier_scale = 16
  model.init_scale = -0.
  return config
"""


@pytest.fixture
def official(tmp_path):
    """A file of theirs below the folder of their defaults, as in their repository."""
    folder = tmp_path / "repository" / "configs"
    (folder / "ve").mkdir(parents=True)
    (folder / "default_cifar10_configs.py").write_text(DEFAULTS)
    file = folder / "ve" / "cifar10_ncsnpp_continuous.py"
    file.write_text(CONFIG)
    return file


def test_a_file_of_theirs_is_the_shipped_configuration(official, tmp_path):
    """Written as ours, it has the network, process, solver and training of configs/ve."""
    tool.main([f"--official_config={official}", f"--out={tmp_path / 'mine.py'}"])
    made, shipped = kinds.load(tmp_path / "mine.py"), kinds.load("ve/cifar10_ncsnpp")
    sections = ("process", "parameterization", "model", "loss", "data", "optim", "ema", "training")
    for section in sections:
        assert made[section] == shipped[section], section
    assert made.sampling == shipped.sampling
    text = (tmp_path / "mine.py").read_text()
    assert "Command: python main.py --config" in text and "Result here: not yet run." in text


REFINED = """
from configs.default_cifar10_configs import get_default_configs


def get_config():
  config = get_default_configs()
  config.training.sde = 'vesde'
  config.training.continuous = False
  config.training.n_iters = 300001
  sampling = config.sampling
  sampling.method = 'pc'
  sampling.predictor = 'none'
  sampling.corrector = 'ald'
  sampling.n_steps_each = 5
  sampling.snr = 0.176
  model = config.model
  model.name = 'ncsnv2_64'
  model.scale_by_sigma = True
  model.num_scales = 232
  model.ema_rate = 0.999
  model.normalization = 'InstanceNorm++'
  model.nonlinearity = 'elu'
  model.nf = 128
  model.interpolation = 'bilinear'
  optim = config.optim
  optim.lr = 1e-4
  optim.warmup = 0
  optim.grad_clip = -1.
  return config
"""


def test_ncsnv2_of_theirs_is_the_shipped_configuration(official):
    official.write_text(REFINED)
    made = kinds.complete(official_sections(official))
    shipped = kinds.load("ve/ncsnv2_cifar10")
    for section in ("process", "model", "loss", "data", "ema"):
        assert made[section] == shipped[section], section
    solvers = [config.sampling.solver.to_dict() for config in (made, shipped)]
    snr = [solver["corrector"].pop("snr") for solver in solvers]
    assert solvers[0] == solvers[1] and snr[0] == pytest.approx(snr[1], rel=1e-3)
    others = ("grid", "num_steps", "t_end", "denoise")
    assert all(made.sampling[field] == shipped.sampling[field] for field in others)
    parameterizations = [kinds.experiment(c).options.parameterization for c in (made, shipped)]
    assert len({(p.output, p.centre_input) for p in parameterizations}) == 1
    official.write_text(REFINED.replace("'bilinear'", "'nearest_neighbor'"))
    with pytest.raises(UserError, match="model.interpolation: got 'nearest_neighbor'"):
        official_sections(official)


def test_json_says_the_same(official, tmp_path):
    (tmp_path / "official.json").write_text(json.dumps(official_file.read(official)))
    assert official_sections(tmp_path / "official.json") == official_sections(official)


@pytest.mark.parametrize(
    "change, expected",
    [
        (
            ("  return config", "  open('owned', 'w')\n  return config"),
            "line 30 of .*no assignment",
        ),
        (("  model.nf = 128", "  model.nf = [open('owned', 'w')][0]"), "line 19"),
        (("'ncsnpp'", "'ncsnv9'"), "model.name: got 'ncsnv9', expected one of"),
        (("'vesde'", "'edm'"), "training.sde: got 'edm', expected one of"),
        (("'GroupNorm'", "'BatchNorm'"), "model.normalization: got 'BatchNorm'"),
        (("'langevin'", "'best'"), "sampling.corrector: got 'best'"),
        (("default_cifar10", "default_lsun"), "imports configs.default_lsun_configs, which is in"),
        (("def get_config", "def other"), "has no function get_config"),
        (("  model.name", "  mode.name"), "cannot be read: 'mode'"),
        (("128", "128 +"), "cannot be read: invalid syntax"),
        (("model.nf = 128", "model.nf = '8' * 9"), "line 19 of .* is no arithmetic"),
        (("  model.nf = 128", "  config.data.image_size = [1]"), "lacks a field, or has one"),
    ],
)
def test_what_is_no_configuration_is_named_and_never_run(change, expected, official, tmp_path):
    official.write_text(CONFIG.replace(*change))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=expected):
        write_config(official, tmp_path / "mine.py")
    assert set(tmp_path.rglob("*")) == before
