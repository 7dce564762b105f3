"""Configurations of published models: their networks have the published numbers of parameters."""

import jax
import pytest

from experiment import kinds

DDPM, DDPM_256, NCSNPP_256, NCSNPP_1024 = 35_218_947, 111_569_923, 65_574_549, 105_785_896
FOURIER, POSITIONAL, DDPMPP = (62_758_915, 107_587_075), (62_693_251, 107_521_411), 61_804_419
# ResNet-50's, its running statistics and three classes for a thousand; its embedding of the noise.
RESNET_50 = 25_557_032 + 53_120 - 1000 * 2049 + 3 * 2049
OF_NOISE = 64 + 2 * 129 * 128 + 129 * (3 * 64 + 4 * 128 + 6 * 256 + 3 * 512)
LABELS = (10 + 1) * 4 * 128  # a vector for each class and for none, as wide as the embedding

# Those of the original models, computed by their own code; those of NCSN, of NCSNv2 at 256 px and
# with classes follow from the architecture (tests/models/test_ncsn.py).
PARAMETERS = {
    "ve/cifar10_ncsnpp": FOURIER[0],
    "ve/cifar10_ncsnpp_deep": FOURIER[1],
    "ve/cifar10_ncsnpp_discrete": POSITIONAL[0],
    "ve/cifar10_ncsnpp_conditional": FOURIER[0] + LABELS,
    "ve/cifar10_ddpm_discrete": DDPM,
    "ve/cifar10_classifier": 38_913_242,
    "ve/afhq_512_classifier": RESNET_50 + OF_NOISE,
    "ve/celeba_64": POSITIONAL[0],
    "ve/bedroom_256": NCSNPP_256,
    "ve/church_256": NCSNPP_256,
    "ve/celebahq_256": NCSNPP_256,
    "ve/ffhq_256": NCSNPP_256,
    "ve/afhq_256": NCSNPP_256,
    "ve/celebahq_1024": NCSNPP_1024,
    "ve/ffhq_1024": NCSNPP_1024,
    "ve/ncsn_cifar10": 30_117_635,
    "ve/ncsn_celeba_32": 30_117_635,
    "ve/ncsnv2_cifar10": 33_970_563,
    "ve/ncsnv2_celeba_64": 33_970_563,
    "ve/ncsnv2_church_96": 83_445_379,
    "ve/ncsnv2_bedroom_128": 83_445_379,
    "ve/ncsnv2_tower_128": 83_445_379,
    "ve/ncsnv2_ffhq_256": 94_132_611,
    "vp/cifar10_ddpm": DDPM,
    "vp/cifar10_ddpm_discrete": DDPM,
    "vp/cifar10_ddpm_unconditional": 32_329_347,
    "vp/cifar10_ddpmpp": DDPMPP,
    "vp/cifar10_ddpmpp_discrete": DDPMPP,
    "vp/cifar10_ddpmpp_deep": 106_632_579,
    "vp/cifar10_ncsnpp": POSITIONAL[0],
    "vp/cifar10_ncsnpp_discrete": POSITIONAL[0],
    "vp/cifar10_ncsnpp_deep": POSITIONAL[1],
    "vp/bedroom_256": DDPM_256,
    "vp/church_256": DDPM_256,
    "vp/celebahq_256": DDPM_256,
    "subvp/cifar10_ddpm": DDPM,
    "subvp/cifar10_ddpmpp": DDPMPP,
    "subvp/cifar10_ddpmpp_deep": 106_632_579,
    "subvp/cifar10_ncsnpp": POSITIONAL[0],
    "subvp/cifar10_ncsnpp_deep": POSITIONAL[1],
}
BUILT: dict[str, int] = {}


@pytest.mark.one_in(26)
@pytest.mark.parametrize("name, count", PARAMETERS.items())
def test_a_published_network_has_its_number_of_parameters(name, count):
    made = kinds.open_experiment(name)
    if hasattr(made.task.network, "scan_blocks"):  # alike, in less time: equal blocks are a loop
        made = kinds.open_experiment(name, {"model.scan_blocks": True})
    key = repr((made.task.network, made.shape))
    if key not in BUILT:
        BUILT[key] = sum(leaf.size for leaf in jax.tree.leaves(made.template))
    assert BUILT[key] == count
