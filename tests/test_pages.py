"""Pages of documents, and what was read of them as files."""

import io
import json
import zipfile

import pytest
from conftest import EXAMPLES
from test_documents import PAGE_OF_RED, several_pages

from phi3v.conversation import Exchange
from phi3v.pages import as_file, as_zip, count_pages, joined, pages_of

PAGES = [Exchange("a.pdf, page 1", [], '{"total": "1"}'), Exchange("../b.png", [], "not JSON")]


def test_images_and_pdfs_are_counted_and_opened_in_order(three_pages):
    paths = [str(EXAMPLES / "shapes.png"), str(three_pages)]
    assert count_pages(paths, 4) == 4
    pages = list(pages_of(paths, 4))
    assert [name for name, _ in pages] == ["shapes.png", *(f"three.pdf, page {n}" for n in (1, 2, 3))]
    assert all(image.mode == "RGB" for _, image in pages)


@pytest.mark.parametrize("content", [b"", b"%PDF-1.4 and no more"])
def test_a_pdf_that_can_not_be_read_counts_as_one_page_and_is_named_one(tmp_path, content):
    path = tmp_path / "bad.pdf"
    path.write_bytes(content)
    assert count_pages([str(path), str(EXAMPLES / "shapes.png")], 2) == 2
    (name, error), (_, image) = pages_of([str(path), str(EXAMPLES / "shapes.png")], 2)
    assert name == "bad.pdf, page 1"
    assert "The PDF" in str(error)
    assert image.mode == "RGB"


def test_too_many_pages_are_refused(three_pages):
    with pytest.raises(ValueError, match="6 pages; at most 5"):
        count_pages([str(three_pages)] * 2, 5)


def test_a_file_that_can_not_be_read_does_not_end_the_others(tmp_path, three_pages):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    pages = list(pages_of([str(broken), str(three_pages)], 10))
    assert len(pages) == 4
    assert isinstance(pages[0][1], ValueError)


def test_a_damaged_page_does_not_end_the_others(tmp_path):
    path = tmp_path / "four.pdf"
    path.write_bytes(several_pages(PAGE_OF_RED, None, None, PAGE_OF_RED))
    pages = list(pages_of([str(path)], 10))
    assert [name for name, _ in pages] == [f"four.pdf, page {n}" for n in (1, 2, 3, 4)]
    assert [isinstance(page, ValueError) for _, page in pages] == [False, True, True, False]
    assert "Page 3" in str(pages[2][1])


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
