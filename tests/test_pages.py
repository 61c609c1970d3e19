"""Pages of documents, and what was read of them as files."""

import io
import json
import re
import threading
import zipfile

import pytest
from conftest import EXAMPLES
from test_documents import PAGE_OF_RED, several_pages

from phi3v.app.pages import Page, PageFiles, as_file, as_zip, joined, read_pages
from phi3v.inputs.deadline import Deadline, StoppedError

PAGES = [Page("a.pdf, page 1", '{"total": "1"}', "end"), Page("../b.png", "not JSON", "end")]


def opened(paths, most=50) -> list:
    """Name and image of every page, or why there is none."""
    pages = []
    with PageFiles(paths, most, Deadline()) as files:
        for name, opener in files:
            try:
                pages.append((name, opener(Deadline())))
            except ValueError as error:
                pages.append((name, error))
        assert files.total >= len(pages)
    return pages


def test_images_and_pdfs_are_counted_and_opened_in_order(three_pages):
    pages = opened([str(EXAMPLES / "shapes.png"), str(three_pages)], 4)
    assert [name for name, _ in pages] == ["shapes.png", *(f"three.pdf, page {n}" for n in (1, 2, 3))]
    assert all(image.mode == "RGB" for _, image in pages)


@pytest.mark.parametrize("content", [b"", b"%PDF-1.4 and no more"])
def test_a_pdf_that_can_not_be_read_counts_as_one_page_and_is_named_one(tmp_path, content):
    path = tmp_path / "bad.pdf"
    path.write_bytes(content)
    (name, error), (_, image) = opened([str(path), str(EXAMPLES / "shapes.png")], 2)
    assert name == "bad.pdf, page 1"
    assert "The PDF" in str(error)
    assert image.mode == "RGB"


def test_too_many_pages_are_refused_and_a_file_that_is_named_twice_is_one(three_pages, tmp_path):
    assert len(opened([str(three_pages)] * 60, 3)) == 3
    other = tmp_path / "other.pdf"
    other.write_bytes(three_pages.read_bytes())
    with pytest.raises(ValueError, match="more than 5 pages"):
        PageFiles([str(three_pages), str(other)], 5, Deadline())
    with pytest.raises(ValueError, match="6 files; at most 5"):
        PageFiles([f"no such file {number}" for number in range(6)], 5, Deadline())


def test_counting_ends_with_its_time_and_when_it_is_stopped(three_pages):
    with pytest.raises(ValueError, match="takes too long"):
        PageFiles([str(three_pages)], 5, Deadline(0))
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        PageFiles([str(three_pages)], 5, Deadline(stop=stop))


def test_a_file_that_can_not_be_read_does_not_end_the_others(tmp_path, three_pages):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    pages = opened([str(broken), str(three_pages), str(tmp_path / "gone.png")])
    assert len(pages) == 5
    assert [isinstance(page, ValueError) for _, page in pages] == [True, False, False, False, True]


def test_damaged_pages_do_not_end_the_others_unless_they_are_three_in_a_row(tmp_path):
    path = tmp_path / "four.pdf"
    path.write_bytes(several_pages(PAGE_OF_RED, None, None, PAGE_OF_RED))
    pages = opened([str(path)])
    assert [name for name, _ in pages] == [f"four.pdf, page {n}" for n in (1, 2, 3, 4)]
    assert [isinstance(page, ValueError) for _, page in pages] == [False, True, True, False]
    assert "Page 3" in str(pages[2][1])
    path.write_bytes(several_pages(PAGE_OF_RED, None, None, None, PAGE_OF_RED))
    assert len(opened([str(path)])) == 4


def read(paths, reasons, seconds=60.0) -> tuple[list[Page], list[str]]:
    """Pages read by a model that says `text` and ends for these reasons, one after another."""
    reasons = iter(reasons)

    def ask(opener, seconds):
        yield "te", "going on", None
        opener(Deadline(seconds))
        yield "text", "done", next(reasons)

    pages = []
    with PageFiles(paths, 50, Deadline()) as files:
        return pages, list(read_pages(files, pages, ask, seconds))


def test_a_page_that_is_cut_off_is_not_counted_as_read_and_says_so(three_pages):
    pages, lines = read([str(three_pages)], ["length", "end", "context"])
    assert [page.cut_off is None for page in pages] == [False, True, False]
    assert re.match(r"1 of 3 pages · pages 1, 3 cut off · \d", lines[-1])
    assert "--- three.pdf, page 1, cut off at max new tokens ---" in joined(pages, "text")
    assert "--- three.pdf, page 2 ---" in joined(pages, "text")
    written = json.loads(as_file(pages, "json")[1])
    assert ["cut_off" in page for page in written] == [True, False, True]
    with zipfile.ZipFile(io.BytesIO(as_zip(pages, "text")[1])) as archive:
        assert ["cut_off" in name for name in archive.namelist()] == [True, False, True]


def test_the_only_page_says_so_too(three_pages):
    pages, _ = read([str(EXAMPLES / "shapes.png")], ["length"])
    assert joined(pages, "text") == "text\n\n[cut off at max new tokens]"
    assert b"cut off" in as_file(pages, "json")[1]


def test_reading_ends_when_it_is_stopped_and_with_its_time(three_pages):
    pages, lines = read([str(three_pages)], ["end", "stopped"])
    assert len(pages) == 2
    assert re.match(r"1 of 3 pages · page 2 cut off · .* · stopped", lines[-1])
    pages, lines = read([str(three_pages)], ["end", "time"], seconds=0.0)
    assert (len(pages), lines[-1].endswith("cut off by the time limit")) == (1, True)


def test_a_page_that_can_not_be_read_is_counted_apart(tmp_path, three_pages):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    pages, lines = read([str(broken), str(three_pages)], ["end"] * 3)
    assert lines[-1].startswith("3 of 4 pages · 1 could not be read")
    assert joined(pages, "text").startswith("--- broken.png ---\n\n[This file is not an image")
    with pytest.raises(ValueError, match="not an image"):
        read([str(broken)], [])


def test_one_page_is_its_text_and_several_have_headings():
    assert joined(PAGES[:1], "text") == '{"total": "1"}'
    assert joined(PAGES, "markdown").startswith("## a.pdf, page 1\n\n")
    assert joined(PAGES, "text") == '--- a.pdf, page 1 ---\n\n{"total": "1"}\n\n--- ../b.png ---\n\nnot JSON'


def test_json_of_several_pages_is_a_list():
    name, content = as_file(PAGES, "json")
    assert name == "pages.json"
    assert [page["fields"] for page in json.loads(content)] == [{"total": "1"}, "not JSON"]
    assert as_file(PAGES, "markdown")[0] == "pages.md"


def test_names_in_the_archive_are_harmless():
    with zipfile.ZipFile(io.BytesIO(as_zip(PAGES, "text")[1])) as archive:
        assert archive.namelist() == ["001_a_pdf__page_1.txt", "002____b_png.txt"]
