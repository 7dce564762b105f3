"""The layouts of published models that can be read, and what others are called.

A new layout is a class of `checkpoint.Checkpoint` in a file of its own, and a line here.
"""

from options.errors import StorageError
from tools.published.checkpoint import Checkpoint
from tools.published.content import Content
from tools.published.diffusers import DiffusersFolder
from tools.published.diffusers_condition import DiffusersConditionFolder
from tools.published.edm import EDMNetwork
from tools.published.ncsn import FlaxNCSN, TorchNCSN
from tools.published.own import OwnSafetensors
from tools.published.score_sde import FlaxScoreSDE, TorchScoreSDE
from tools.published.torchvision import TorchvisionResNet

LAYOUTS: tuple[type[Checkpoint], ...] = (
    OwnSafetensors,
    DiffusersConditionFolder,
    DiffusersFolder,
    TorchNCSN,
    TorchScoreSDE,
    FlaxNCSN,
    FlaxScoreSDE,
    EDMNetwork,
    TorchvisionResNet,
)
# Names of a parameter by which others are known, the first that is there.
STRANGERS = {
    "output_blocks.0.0.in_layers.0.weight": "guided-diffusion's U-Net (Dhariwal & Nichol 2021), "
    "whose blocks scale by the noise level and attend with several heads: no network here does",
    "middle_block.0.in_layers.0.weight": "guided-diffusion's classifier (Dhariwal & Nichol 2021), "
    "half a U-Net whose blocks scale by the noise level: no classifier here does",
    "model.diffusion_model.time_embed.0.weight": "a latent diffusion model",
    "embeddings.word_embeddings.weight": "a BERT, which tools.import_text_encoder takes",
    "bert.embeddings.word_embeddings.weight": "a BERT, which tools.import_text_encoder takes",
    "encoder.conv_in.weight": "an autoencoder: tools.import_autoencoder takes its folder",
    "conv_in.weight": "a UNet2DModel of diffusers without its config.json: give the folder",
}


def checkpoint_of(content: Content) -> Checkpoint:
    """The checkpoint in what was read; StorageError, which says what it is, for one of no layout
    here."""
    for layout in LAYOUTS:
        found = layout.recognise(content)
        if found is not None:
            return found
    names = {str(name).removeprefix("module.") for name in content.keys}
    known = [what for name, what in STRANGERS.items() if name in names]
    titles = ", ".join(layout.title for layout in LAYOUTS)
    some = ", ".join(sorted(map(str, content.keys))[:4]) or type(content.tree).__name__
    what = known[0] if known else f"something with {some}"
    raise StorageError("file", but=f"{content.path} is {what}", expected=titles)
