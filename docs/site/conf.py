"""The settings of Sphinx: Markdown, the theme, and nothing that is fetched from elsewhere."""

project = "mixer zoo"
html_title = "mixer zoo"
author = copyright = "the authors of the mixer zoo"  # noqa: A001 - Sphinx reads this name

extensions = ["myst_parser"]
myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 4
highlight_language = "text"

html_theme = "furo"
html_static_path = ["static"]
html_favicon = "static/icon.svg"
html_css_files = ["style.css"]
html_js_files = ["search.js"]
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
smartquotes = False
html_use_index = False
html_domain_indices = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
