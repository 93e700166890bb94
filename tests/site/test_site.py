"""The site of the documentation: complete, without dead links, quiet in a real browser, and no wider than a phone.

Where Sphinx is not installed, only the Markdown that the site is built from is looked at. `.ci/run` has an environment
for all of it.
"""

import functools
import importlib
import subprocess
import sys
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from zoo.plugin.commands import BUILT_IN
from zoo.plugin.kinds import CHANNEL_MIXER, KINDS, MIXER
from zoo.plugin.registry import get_registry

from ..pages.chromium import PROGRAM, Chromium  # noqa: TID252 - pytest knows the parts of the tests by place

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "site"
MISSING = [library for library in ("furo", "myst_parser", "sphinx") if find_spec(library) is None]
PAGES = ["index", "tutorial", "mixers", "mixers/gated-deltanet", "commands/train", "kinds/task", "gallery", "results"]
WIDTHS = {"desk": 1280, "phone": 390}
FOUND = "/^Search finished/.test(document.querySelector('#search-results .search-summary')?.textContent)"
WIDER = """[...document.querySelectorAll('article *')].filter(element => {
    if (element.getBoundingClientRect().right <= innerWidth) return false
    for (let around = element.parentElement; around.tagName !== 'ARTICLE'; around = around.parentElement)
        if (['auto', 'scroll'].includes(getComputedStyle(around).overflowX)) return false
    return true
}).map(element => element.outerHTML.slice(0, 100))"""
"""What is cut off at the right edge of the window; the theme hides that there is more to the right."""

EXCERPTS = "document.querySelectorAll('#search-results li p.context').length"


def build(*words):
    return subprocess.run(
        [sys.executable, str(FOLDER / "build.py"), *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    out = tmp_path_factory.mktemp("sources") / "site"
    done = build(out, "--sources")
    assert (done.returncode, done.stderr) == (0, "")
    return out


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if MISSING:
        pytest.skip(f'needs {", ".join(MISSING)}: pip install -c constraints.txt ".[docs]"')
    out = tmp_path_factory.mktemp("html") / "site"
    done = build(out)
    assert (done.returncode, done.stderr) == (0, "")
    return out


@pytest.fixture(scope="module")
def links():
    """The module of docs/site/ that knows where the pages are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(FOLDER), *sys.path])
        yield importlib.import_module("links")
    for name in ("links", "prose"):
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def server(site):
    """The address at which the site is served."""
    handler = functools.partial(Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("needs Chromium on the PATH")
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def built_in(kind):
    return [entry.name for entry in get_registry()[kind].entries if entry.origin.distribution == "mixer-zoo"]


@pytest.mark.slow
def test_there_is_a_page_for_everything(sources):
    pages = {path.relative_to(sources).with_suffix("").as_posix() for path in sources.rglob("*.md")}
    mixers = {name for kind in (MIXER, CHANNEL_MIXER) for name in built_in(kind)}
    assert {f"mixers/{name}" for name in mixers} == {page for page in pages if page.startswith("mixers/")}
    assert {f"kinds/{kind.name}" for kind in KINDS} == {page for page in pages if page.startswith("kinds/")}
    commands = {f"commands/{name.replace(' ', '-')}" for name in BUILT_IN}
    assert commands == {page for page in pages if page.startswith("commands/")}
    assert {path.stem for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.ipynb")]} <= pages
    assert {f"plugins/{path.parent.name}" for path in ROOT.glob("plugins/*/README.md")} <= pages


@pytest.mark.slow
def test_a_page_says_what_the_code_says(sources):
    mixer = (sources / "mixers" / "gated-deltanet.md").read_text(encoding="utf-8")
    assert "S_t = S' + beta_t k_t" in mixer
    assert "| `key_heads` |" in mixer
    assert "Causal:" in mixer
    assert "zoo train --mixer 'gated-deltanet*3, dot-product'" in mixer
    command = (sources / "commands" / "new-plugin.md").read_text(encoding="utf-8")
    assert "Usage: zoo new-plugin" in command
    for kind in KINDS:
        text = (sources / "kinds" / f"{kind.name}.md").read_text(encoding="utf-8")
        assert [name for name in built_in(kind) if f"`{name}`" not in text] == []


@pytest.mark.slow
def test_the_gallery_shows_every_picture_of_the_results(sources):
    committed = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/results/**/*.svg")}
    text = (sources / "gallery.md").read_text(encoding="utf-8")
    assert committed
    assert [name for name in sorted(committed) if f"](pictures/{name})" not in text] == []
    assert text.count("](pictures/gallery/") == len(list((sources / "pictures" / "gallery").iterdir())) > 10


def linked(links, folder, text):
    site = links.Site()
    site.add("here", f"# Here\n\n{text}\n")
    site.add("pages/there", "# There\n\n## Part\n", origin="docs/all.md", anchors=["there"])
    site.write(folder)
    return (folder / "here.md").read_text(encoding="utf-8").removeprefix("# Here\n\n").strip()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("[it](all.md#there)", "[it](pages/there.md)"),
        ("[up](here.md#here)", "[up](here.md#here)"),
        ("[web](https://example.org/a.md)", "[web](https://example.org/a.md)"),
        ("[the class](../zoo/contract.py)", "the class (`zoo/contract.py`)"),
        ("[zoo/contract.py](../zoo/contract.py)", "zoo/contract.py"),
        ("```\n[code](nowhere.md)\n```", "```\n[code](nowhere.md)\n```"),
        ("`[code](nowhere.md)`", "`[code](nowhere.md)`"),
    ],
)
def test_links_follow_what_they_lead_to(links, tmp_path, written, expected):
    assert linked(links, tmp_path, written) == expected


def test_a_link_to_nowhere_is_an_error(links, tmp_path):
    with pytest.raises(links.PageError, match=r"docs/here\.md links to nowhere\.md"):
        linked(links, tmp_path, "[it](nowhere.md)")


def test_a_page_without_a_title_is_an_error(links, tmp_path):
    site = links.Site()
    site.add("here", "")
    with pytest.raises(links.PageError, match=r"docs/here\.md has no title"):
        site.write(tmp_path)


@pytest.mark.slow
def test_a_folder_that_is_no_site_is_kept(tmp_path):
    (tmp_path / "mine").write_text("mine")
    done = build(tmp_path)
    assert done.returncode == 2
    assert "is no site" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.slow
@pytest.mark.skipif(MISSING != [], reason="needs Sphinx")
def test_a_heading_that_is_not_there_fails_the_build(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "index.md").write_text("# Front\n\n[a part](index.md#that-is-missing)\n")
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); from build import build_html\n"
        "sys.exit(build_html(*map(Path, sys.argv[2:])))"
    )
    folders = [str(tmp_path / name) for name in ("in", "out", "scratch")]
    command = [sys.executable, "-c", script, str(FOLDER), *folders]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "that-is-missing" in done.stderr


class Links(HTMLParser):
    """The headings of a page, what it links to, and what a browser loads with it."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.targets, self.loaded = set(), [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.add(given.get("id"))
        if tag == "a" and "href" in given:
            self.targets.append(given["href"])
        elif tag in ("img", "script", "iframe", "source") and "src" in given:
            self.loaded.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loaded.append(given["href"])


@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    pages = {path: Links(path) for path in site.rglob("*.html")}
    assert len(pages) > 100
    dead = []
    for path, page in pages.items():
        assert not [address for address in page.loaded if "//" in address]
        own = [target for target in page.targets if not target.startswith(("http:", "https:", "mailto:"))]
        for target in [*own, *page.loaded]:
            address, anchor = urldefrag(target)
            file = (path.parent / unquote(address.partition("?")[0])).resolve() if address else path
            if not file.is_file() or (anchor and file in pages and unquote(anchor) not in pages[file].ids):
                dead.append(f"{path.relative_to(site)}: {target}")
    assert dead == []


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_quiet_alone_and_no_wider_than_the_window(server, chromium, page, width):
    visit = chromium.open(f"{server}/{page}.html", width=width)
    assert visit.complaints == []
    assert [address for address in visit.requests if not address.startswith(server)] == []
    assert chromium.evaluate(WIDER) == []
    assert chromium.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)") == []


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_search_finds_and_shows_where(server, chromium, width):
    address = f"{server}/search.html?q=gated-deltanet"
    visit = chromium.open(address, width=width, until=f"{FOUND} && {EXCERPTS} > 1")
    assert visit.complaints == []
    assert [asked for asked in visit.requests if not asked.startswith(server)] == []
    found = chromium.evaluate("[...document.querySelectorAll('#search-results li > a')].map(link => link.textContent)")
    assert "gated-deltanet" in found[:3]
    assert chromium.evaluate(WIDER) == []


@pytest.mark.slow
def test_the_site_is_quiet_as_files_too_where_the_search_has_no_excerpts(site, chromium):
    assert chromium.open(site / "index.html").complaints == []
    address = f"{(site / 'search.html').as_uri()}?q=gated-deltanet"
    assert chromium.open(address, until=FOUND).complaints == []
    assert chromium.evaluate("document.querySelectorAll('#search-results li').length") > 1
