"""Builds the site: the hand-written pages, the notebooks, and the reference of every module.

    python -m tools.build_site [FOLDER]    by default docs/site; open index.html there

Links are those of the repository: the pages are laid out as they are there. Any warning, and so
any link that leads nowhere, is an error. Equations need MathJax, which a browser reads from the
net, and the search a server: python -m http.server --directory docs/site
"""

import argparse
import logging
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from options.progress import busy

ROOT = Path(__file__).resolve().parent.parent
# What the site shows, or offers to read, at the place that it has in the repository.
PAGES = ["*.md", "LICENSE", "CITATION.cff", "data/README.md", "notebooks/*"]
PAGES += ["docs/*.md", "docs/images", "docs/solvers"]
APART = {"tests", "docs", "notebooks", "benchmarks"}  # no modules of the reference


def lay_out(folder: Path) -> None:
    """Links to everything that the site shows."""
    for path in (path for pattern in PAGES for path in ROOT.glob(pattern)):
        link = folder / path.relative_to(ROOT)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    (folder / "api").mkdir()
    (folder / "api" / "index.html").touch()  # pdoc makes it, when the pages are there


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """mkdocs's hook: the links of a notebook lead to pages, which its plugin leaves as they are."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return re.sub(r'(<a href="(?![a-z]+:)[^"#]*)\.(?:ipynb|md)\b', r"\1.html", html)


def modules() -> list[str]:
    """Dotted names of the modules, packages and configurations."""
    packages = {path.parent.name for path in ROOT.glob("[a-z]*/*.py")} - APART
    configurations = (ROOT / "configs").glob("*/*.py")
    dotted = (path.relative_to(ROOT).with_suffix("").parts for path in configurations)
    return sorted({path.stem for path in ROOT.glob("*.py")} | packages) + sorted(
        ".".join(parts) for parts in dotted
    )


def build_reference(folder: Path) -> list[str]:
    """pdoc's pages of the docstrings; what it warns of."""
    import pdoc

    pdoc.render.configure(math=True)
    with warnings.catch_warnings(record=True) as said:
        pdoc.pdoc(*modules(), output_directory=folder)
    for page in folder.rglob("*.html"):
        page.write_text(without_dead_ends(page.read_text()))
    return [str(each.message) for each in said if "pdoc" in Path(each.filename).parts]


def without_dead_ends(html: str) -> str:
    """A page without links to what it does not show, as pdoc makes to members of private bases."""
    shown = set(re.findall(r'\bid="([^"]+)"', html))
    link = re.compile(r'<a href="#([^"]+)"[^>]*>(.*?)</a>', re.DOTALL)
    return link.sub(lambda found: found[0] if found[1] in shown else found[2], html)


def build_pages(folder: Path) -> None:
    """mkdocs's pages; ends the program where there is anything to warn of."""
    said = logging.StreamHandler()
    said.setLevel(logging.WARNING)
    logging.getLogger("mkdocs").addHandler(said)
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # that the theme has a successor
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    with tempfile.TemporaryDirectory() as place:
        lay_out(Path(place))
        file, site = str(ROOT / "docs" / "mkdocs.yml"), str(folder)
        build(load_config(file, docs_dir=place, site_dir=site, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description="build the site")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs" / "site")
    folder = parser.parse_args().folder.absolute()
    with busy("making the pages and notebooks"):
        build_pages(folder)
    with busy("making the reference"):
        said = build_reference(folder / "api")
    print(*(f"warning: {line}" for line in said), sep="\n", end="\n" if said else "")
    print(f"the site: {folder / 'index.html'}")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
