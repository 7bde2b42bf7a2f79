"""Sphinx configuration: ``sphinx-build -W docs build/docs``."""

from __future__ import annotations

import argparse
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

project = "airflow-provider-outbound"
author = "airflow-provider-outbound contributors"
copyright = author  # noqa: A001 (the name Sphinx reads)
release = version = version_of("airflow-provider-outbound")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinxcontrib.mermaid"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
# Docstrings are read by Sphinx, pages by MyST. Both name classes of Airflow, whose documentation is not read here.
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"
nitpicky = False

html_theme = "furo"
html_title = f"airflow-provider-outbound {release}"
html_logo = html_favicon = "integration-logos/outboundbot.svg"
html_show_copyright = False
language = "en"
exclude_patterns = ["build"]


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return the parsers below a parser that do something, in the order of their help."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [leaf for action in below for child in action.choices.values() for leaf in _commands(child)] or [parser]


def _write_cli(*_: Any) -> None:
    """Write the help of each command, so that the page cannot differ from it."""
    import os

    from airflow_provider_outbound.cli import _parser

    os.environ["COLUMNS"] = "100"
    pages = [f"## {one.prog}\n\n```text\n{one.format_help()}```\n" for one in _commands(_parser())]
    target = Path(__file__).parent / "build" / "cli.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(pages), encoding="utf-8")


def setup(app: Any) -> None:
    """Write what is generated before pages are read."""
    app.connect("builder-inited", _write_cli)
