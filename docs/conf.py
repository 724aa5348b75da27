"""Build the documentation: ``sphinx-build -W docs build/html``."""

from pathlib import Path

from docutils import nodes
from sphinx.util.inspect import signature, stringify_signature
from sphinx_gallery.sorting import FileNameSortKey

import roialign_cy

project = "roialign_cy"
author = "The roialign_cy developers"
copyright = author
version = release = roialign_cy.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
autodoc_typehints = "none"  # the docstrings have the types, with shapes
default_role = "py:obj"
toc_object_entries_show_parents = "hide"
exclude_patterns = ["gallery", "figures", "measured", "plugin"]
templates_path = ["_templates"]
numpydoc_show_class_members = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_mock_imports = ["torch"]  # gigabytes, for the docstrings of one module

# The plots of pages are PNGs of twice the size they are shown at, for dense screens.
plot_formats = [("png", 160)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = True

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "within_subsection_order": FileNameSortKey,
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "capture_repr": (),
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}
suppress_warnings = ["config.cache"]  # the sort key above is a class, which cannot be stored

html_theme = "pydata_sphinx_theme"
html_title = "roialign_cy"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_show_sourcelink = False
html_sidebars = {"*": []}  # pages with no others below them
html_theme_options = {
    "show_prev_next": True,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 5,
    "footer_start": ["copyright"],
    "footer_end": [],
}

doctest_global_setup = f"""
import numpy as np
import roialign_cy as ra
PLUGIN_FOLDER = {str(Path(__file__).parent / "plugin")!r}
"""


def show_init(app, what, name, obj, options, arguments, returns):
    """Give the signature of a class whose base is mocked, and hides it; a protocol has none."""
    if getattr(obj, "_is_protocol", False):
        return "", None
    if what == "class" and name.startswith("roialign_cy.torch."):
        return stringify_signature(
            signature(obj.__init__, bound_method=True), show_annotation=False
        ), None


def skip_examples_of_torch(app, doctree):
    """Leave them to the suite, which has torch."""
    if app.env.docname == "api/torch":
        for block in doctree.findall(nodes.doctest_block):
            block["skipif"] = "True"


def setup(app):
    """Connect the two to Sphinx."""
    app.connect("autodoc-process-signature", show_init)
    app.connect("doctree-read", skip_examples_of_torch)
