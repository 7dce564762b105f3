"""Where a wheel puts the project: into a folder of its own, which a .pth file puts on the path.

Modules named `data` or `main` do not belong among those of other projects in site-packages. So an
installed project is laid out as a clone is, with its configurations and weights, and is imported as
an editable install is: its folder comes last on the path.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "score_sde_jax"


class Layout(BuildHookInterface):
    """Includes what the hook's option `project` lists; an editable install copies nothing."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            placed = {name: f"{FOLDER}/{name}" for name in self.config["project"]}
            build_data["force_include"] |= placed | {f".wheel/{FOLDER}.pth": f"{FOLDER}.pth"}
