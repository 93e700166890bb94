"""The browser sees what it should, so that the tests of the pages can fail."""

import pytest

from .chromium import count_pages

pytestmark = pytest.mark.slow

COMPLAINS = {
    "console": ("<script>console.error('oh', 'dear')</script>", "oh dear"),
    "warning": ("<script>console.warn('hm')</script>", "hm"),
    "exception": ("<script>throw new TypeError('not so')</script>", "TypeError: not so"),
    "promise": ("<script>Promise.reject(new Error('later'))</script>", "Error: later"),
    "late": ("<script>addEventListener('load', () => { throw new Error('at last') })</script>", "Error: at last"),
    "syntax": ("<script>let let = 1</script>", "SyntaxError"),
    "alert": ("<script>alert(1)</script>", "alert: 1"),
    "handler": ("<img src='data:,' onerror='missing()'>", "ReferenceError: missing"),
}

ASKS = {
    "image": "<img src='http://example.com/a.png'>",
    "style": "<link rel='stylesheet' href='https://example.com/a.css'>",
    "import": "<style>@import url(https://example.com/a.css);</style>",
    "font": "<style>@font-face { font-family: f; src: url(https://example.com/a) } p { font-family: f }</style><p>a",
    "script": "<script src='https://example.com/a.js'></script>",
    "frame": "<iframe src='https://example.com/a'></iframe>",
    "fetch": "<script>fetch('https://example.com/a').catch(() => 0)</script>",
    "svg": "<svg><image href='https://example.com/a.png' width=9 height=9 /></svg>",
    "file": "<img src='beside.png'>",
}


def written(path, body):
    path.write_text(f"<!DOCTYPE html><meta charset='utf-8'><title>t</title>{body}", encoding="utf-8")
    return path


def test_a_good_page_is_quiet(chromium, tmp_path):
    visit = chromium.open(
        written(tmp_path / "good.html", "<p>é</p><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")
    )
    assert (visit.complaints, visit.requests) == ([], [])
    assert chromium.evaluate("document.body.innerText.trim()") == "é"


@pytest.mark.parametrize("kind", COMPLAINS)
def test_a_complaint_is_heard(chromium, tmp_path, kind):
    body, words = COMPLAINS[kind]
    visit = chromium.open(written(tmp_path / "bad.html", body))
    assert any(words in complaint for complaint in visit.complaints), visit


@pytest.mark.parametrize("kind", ASKS)
def test_a_request_is_seen(chromium, tmp_path, kind):
    visit = chromium.open(written(tmp_path / "bad.html", ASKS[kind]))
    wanted = "file://" if kind == "file" else "example.com/a"
    assert any(wanted in request for request in visit.requests), visit


def test_a_visit_forgets_the_one_before(chromium, tmp_path):
    chromium.open(written(tmp_path / "bad.html", ASKS["image"] + COMPLAINS["console"][0]))
    visit = chromium.open(written(tmp_path / "good.html", "<p>a"))
    assert (visit.complaints, visit.requests) == ([], [])


def test_the_window_is_as_wide_as_asked(chromium, tmp_path):
    for width in (420, 1400):
        chromium.open(written(tmp_path / "page.html", "<p>a"), width=width)
        assert chromium.evaluate("innerWidth") == width


@pytest.mark.parametrize("pages", [1, 3])
def test_the_pages_of_a_pdf_are_counted(chromium, tmp_path, pages):
    chromium.open(written(tmp_path / "page.html", "<p>a</p>" + "<p style='break-before: page'>b</p>" * (pages - 1)))
    pdf = chromium.print_pdf()
    assert pdf.startswith(b"%PDF-")
    assert count_pages(pdf) == pages
