"""Networks. A new one is a module of its own and a line in one of these tables."""

from models.autoencoder import AutoencoderKL, AutoencoderVQ
from models.ddpm import DDPM
from models.handwriting import HandwritingNetwork
from models.ncsn import NCSN, NCSNv2
from models.ncsnpp import NCSNpp
from models.resnet import ResNet
from models.sequence import SequenceNetwork
from models.unet_condition import UNetCondition
from models.wide_resnet import WideResNet

# (x, c_noise, *, dropout_keys, **cond) -> an array like x, or with more `NetworkOutput`
MODELS = {
    "ncsnpp": NCSNpp,
    "ddpm": DDPM,
    "ncsn": NCSN,
    "ncsnv2": NCSNv2,
    "sequence": SequenceNetwork,
    "handwriting": HandwritingNetwork,
    "unet_condition": UNetCondition,
}
# (x, c_noise) -> logits (batch, num_classes)
CLASSIFIERS = {"wide_resnet": WideResNet, "resnet": ResNet}
# (x) -> an array like x, by `encode`, images in [-1, 1] to `Latents`, and `decode`
AUTOENCODERS = {"kl": AutoencoderKL, "vq": AutoencoderVQ}
