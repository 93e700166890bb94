"""What is told of a bench: the tables, the files, the pictures, the page."""

import csv
import html
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from zoo.errors import UsageError, ZooError
from zoo.lab.bench.candidates import PLAIN
from zoo.lab.bench.format import number, percent, power, rate
from zoo.lab.bench.plot import plot_svg
from zoo.lab.bench.request import Request
from zoo.lab.bench.result import Cell
from zoo.lab.bench.summary import some_lengths, summary
from zoo.lab.bench.write import new_folder, write_bench

from .samples import bench

pytestmark = pytest.mark.pictures

HOSTILE = "<script>alert(1)</script> & $\\frac{'\"x"


def blocks(text):
    return dict(zip(("forward", "train", "decode", "memory", "closing"), text.split("\n\n"), strict=True))


def figures(block, name):
    return next(line for line in block.splitlines() if line.startswith(name))[len(name) :].split()


def test_the_table_of_times_counted_by_hand():
    block = blocks(summary(bench()))["train"]
    head, names = block.splitlines()[:2]
    assert head == "train: a forward pass, and the backward pass to parameters and reads; ms a step, at so many tokens"
    assert names.split() == ["256", "512", "1,024", "time", "~", "upper", "x", "sdpa", "roofline"]
    assert figures(block, PLAIN) == ["4.00", "16.0", "64.0", "t^2.00", "t^2.00", "1.00", "50", "%"]
    assert figures(block, "correlation*2") == ["4.00", "8.00", "16.0", "t^1.00", "t^1.00", "0.125", "50", "%"]


def test_the_other_tables():
    told = blocks(summary(bench()))
    assert figures(told["decode"], PLAIN) == ["4,000", "16,000", "64,000", "t^2.00", "t^2.00", "1.00", "t^0.00"]
    assert "memory ~" in told["memory"]
    assert figures(told["memory"], "correlation*2")[-1] == "0.125"
    assert "machine: 123 GFLOP/s in fp32 matrix products, 20.0 GB/s in copies beyond the caches" in told["closing"]
    assert "times: medians, whose quartiles are at most 20 % apart" in told["closing"]


@pytest.mark.parametrize("pattern", ["correlation + involution", "correlation*3, dot-product(heads=2, window=64)"])
def test_a_hundred_columns_are_enough(pattern):
    made = bench(pattern, lengths=(256, 512, 1024, 2048, 4096, 8192, 16384, 32768))
    made.cells = [c for c in made.cells if c.length < 32768 or c.kind != "train"]
    text = "\n".join(summary(made).splitlines()[:-6])
    assert max(map(len, text.splitlines())) <= 100
    assert text.count(pattern) == 4
    assert some_lengths(made.request.lengths) == [256, 512, 2048, 4096, 16384, 32768]
    assert "       -" in text


def test_failures_and_notes_are_told():
    made = bench(kinds=("forward",))
    made.cells[-1] = Cell("correlation*2", "forward", 1024, failure="out of memory")
    made.unbuilt["nonsense"], made.notes = "no such mixer", ["It was interrupted."]
    text = summary(made)
    assert "failed: nonsense: not built: no such mixer\nfailed: correlation*2, forward at 1,024: out of memory" in text
    assert "note: It was interrupted." in text
    # Two lengths tell no growth; what is compared is the longest that was measured.
    assert figures(text, "correlation*2") == ["4.00", "8.00", "-", "-", "-", "0.250", "50", "%"]


def test_numbers_for_people():
    assert [number(value) for value in (None, 0.01234, 1, 99.94, 100.4, 12345.6)] == [
        "-",
        "0.0123",
        "1.00",
        "99.9",
        "100",
        "12,346",
    ]
    assert [percent(value) for value in (None, 0.0123, 0.5, 1.234)] == ["-", "1.2 %", "50 %", "123 %"]
    assert [power(value) for value in (None, 1.234, -0.001, -0.5)] == ["-", "t^1.23", "t^0.00", "t^-0.50"]
    assert [rate(value, "B") for value in (12.3, 4.5e6, 2.4e11, 3e12)] == [
        "12.3 B/s",
        "4.50 MB/s",
        "240 GB/s",
        "3.00 TB/s",
    ]


def test_the_folder_is_new(tmp_path):
    request = Request(patterns=("correlation*3, dot-product", "involution"))
    folder = new_folder(request, root=tmp_path / "bench")
    assert re.fullmatch(r"\d{8}-\d{6}-correlation-3-dot-product-involution", folder.name)
    assert folder.parent == tmp_path / "bench"
    with pytest.raises(UsageError, match=r"exists: choose another `out`"):
        new_folder(request, root=tmp_path, out=folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match=r"cannot make the folder .*: .*; choose another place with `out`"):
        new_folder(request, root=tmp_path, out=tmp_path / "file" / "x")


@pytest.mark.parametrize("seconds", [0.00042327831808864366, 0.00016020715061075783])
def test_costs_that_differ_by_a_rounding_can_be_drawn(seconds):
    """The axis of these has two ends that are different numbers, and whose logarithms are not."""
    made = bench(lengths=(16,), kinds=("decode",))
    made.cells = [Cell(PLAIN, "decode", 16, seconds=(seconds,), calls=5, tokens=1)]
    assert "<svg" in plot_svg(made, "decode")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    made = bench()
    made.cells[1] = Cell("correlation*2", "forward", 256, failure=HOSTILE)
    made.candidates[0]["note"], made.unbuilt[HOSTILE] = None, HOSTILE
    write_bench(made, folder)
    return folder


@pytest.mark.slow
def test_the_files(written):
    pictures = {f"bench-{kind}.{form}" for kind in ("forward", "train", "decode", "memory") for form in ("svg", "png")}
    assert {path.name for path in written.iterdir()} == pictures | {"bench.csv", "bench.json", "report.html"}
    for path in written.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert image.width == 1080


@pytest.mark.slow
def test_the_csv(written):
    rows = list(csv.DictReader((written / "bench.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 24
    train = next(row for row in rows if (row["what"], row["length"], row["candidate"]) == ("train", "512", PLAIN))
    numbers = {name: float(train[name]) for name in train if name.endswith("seconds")}
    assert numbers == pytest.approx(
        {
            "median_seconds": 0.016,
            "lower_quartile_seconds": 0.0144,
            "upper_quartile_seconds": 0.0176,
            "roofline_seconds": 0.008,
        }
    )
    assert float(train["tokens_per_second"]) == pytest.approx(32000)
    assert (train["roofline_fraction"], train["ratio_to_plain_sdpa"], train["flops"]) == ("0.5", "1.0", "1000000")
    assert (rows[1]["failure"], rows[1]["median_seconds"]) == (HOSTILE, "")


@pytest.mark.slow
def test_the_json(written):
    told = json.loads((written / "bench.json").read_text(encoding="utf-8"))
    assert told["complete"] is True
    assert told["command"].startswith("zoo bench 'correlation*2' --lengths 256,512,1024 --what forward,train,")
    assert told["machine"] == {"flops_per_second": 1.23e11, "bytes_per_second": {"1048576": 5e10, "268435456": 2e10}}
    plain, other = told["candidates"]
    assert plain["growth"]["train"] == pytest.approx({"exponent": 2, "upper": 2})
    assert other["growth"]["memory"] == pytest.approx({"exponent": 1, "upper": 1}, abs=1e-3)
    assert told["cells"][0]["seconds"] == pytest.approx([0.0032, 0.0036, 0.004, 0.0044, 0.0048])
    assert told["cells"][0]["fastest_seconds"] == pytest.approx(0.0032)
    assert told["environment"]["plugins"]["correlation"]["distribution"] == "mixer-zoo"
    assert told["environment"]["torch"]


class Page(HTMLParser):
    def __init__(self, source):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.text += data


@pytest.mark.slow
def test_the_page_needs_nothing_else_and_escapes_what_it_is_given(written):
    page = Page((written / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.tags.count("svg") == 4
    assert page.addresses
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert f"{HOSTILE}: not built: {HOSTILE}" in page.text
    assert f"correlation*2, forward at 256: {HOSTILE}" in page.text
    assert "zoo bench 'correlation*2' --lengths" in page.text


@pytest.mark.slow
def test_pictures_are_the_same_each_time_and_name_everyone():
    made = bench(HOSTILE)
    picture = plot_svg(made, "train")
    assert picture == plot_svg(made, "train")
    drawn = re.findall(r"<!-- (.*?) -->", picture)
    assert PLAIN in drawn
    assert html.escape(HOSTILE, quote=False) in drawn
    assert "guide: grows as t^2" in drawn
    assert "time (ms a step)" in drawn


def test_a_long_name_is_whole_in_the_legend():
    name = "correlation(max_lag=3, axis='feature')*3, dot-product(heads=2, window=64)"
    drawn = re.findall(r"<!-- (.*?) -->", plot_svg(bench(name), "train"))
    assert name in " ".join(drawn)  # it is drawn line by line


def test_there_is_no_picture_of_nothing():
    made = bench(kinds=("forward",))
    made.cells = [Cell(cell.candidate, cell.kind, cell.length, failure="out of memory") for cell in made.cells]
    assert plot_svg(made, "forward") == ""
