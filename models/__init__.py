"""Networks. A new one is a module of its own and a line in this table."""

from models.ddpm import DDPM
from models.ncsnpp import NCSNpp

MODELS = {"ncsnpp": NCSNpp, "ddpm": DDPM}
