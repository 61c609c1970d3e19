"""PDF files as people have them, and as people break them."""

import gc
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from phi3v.inputs import documents, sandbox
from phi3v.inputs.deadline import Deadline, StoppedError
from phi3v.inputs.documents import LONG_SIDE, Document, is_pdf, page_count

COLOURS = ("red", "lime", "blue")
PAGE_OF_RED = b"1 0 0 rg 0 0 9999 9999 re f"
SLOW = b"0 0 9999 9999 re f " * 200_000


def pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A PDF file of these objects. The first is the catalogue."""
    file, offsets = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return file + (
        b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R %b >>\nstartxref\n%d\n%%%%EOF\n"
        % (size, table, size, trailer, len(file))
    )


def stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(content), entries, content)


def one_page(
    box: bytes = b"0 0 612 792",
    content: bytes = PAGE_OF_RED,
    page: bytes = b"",
    catalogue: bytes = b"",
    count: int = 1,
) -> list[bytes]:
    """The objects of a PDF file with one page; `count` is how many it claims to have. The next object is the fifth."""
    return [
        b"<< /Type /Catalog /Pages 2 0 R %b >>" % catalogue,
        b"<< /Type /Pages /Count %d /Kids [3 0 R] >>" % count,
        b"<< /Type /Page /Parent 2 0 R /MediaBox [%b] /Contents 4 0 R %b >>" % (box, page),
        stream(content),
    ]


def several_pages(*contents: bytes | None, resources: bytes = b"<< >>", others: tuple[bytes, ...] = ()) -> bytes:
    """A PDF file of pages with these contents; None is a page that is listed and isn't there.

    All have the same resources; the first of the `others` is object 4.
    """
    first = 4 + len(others)
    numbers = range(first, first + 2 * len(contents), 2)
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources 3 0 R >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%b] >>" % (len(contents), b" ".join(b"%d 0 R" % n for n in numbers)),
        resources,
        *others,
    ]
    for number, content in zip(numbers, contents):
        objects += [b"null" if content is None else page % (number + 1), stream(content or b"")]
    return pdf(*objects)


def nested_forms(depth: int) -> list[bytes]:
    """Objects 4 and following: forms that each draw the next one twice."""
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 612 792] "
    inner = [
        stream(b"/X Do /X Do", form + b"/Resources << /XObject << /X %d 0 R >> >>" % number)
        for number in range(5, 5 + depth)
    ]
    return [*inner, stream(PAGE_OF_RED, form)]


def encryption(handler: bytes) -> bytes:
    return b"<< /Filter /%b /V 1 /R 2 /P -44 /O <%b> /U <%b> >>" % (handler, b"41" * 32, b"42" * 32)


NO_PAGES = pdf(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 0 /Kids [] >>")
ENCRYPTED = pdf(*one_page(), encryption(b"Standard"), trailer=b"/Encrypt 5 0 R /ID [<00> <00>]")
BY_CERTIFICATE = pdf(*one_page(), encryption(b"Adobe.PubSec"), trailer=b"/Encrypt 5 0 R /ID [<00> <00>]")


@pytest.fixture
def written(tmp_path):
    """Writes bytes to a file and returns its path."""

    def write(content, name="upload.pdf"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.fixture
def three_pages(tmp_path):
    pages = [Image.new("RGB", (425, 550), colour) for colour in COLOURS]
    pages[0].save(tmp_path / "three.pdf", "PDF", save_all=True, append_images=pages[1:], resolution=50)
    return tmp_path / "three.pdf"


def rendered(path, **settings):
    """Each page of a document, or why there is none."""
    with Document(path, **settings) as document:
        for number in range(1, document.count + 1):
            try:
                yield document.page(number)
            except ValueError as error:
                yield error


def middle(image: Image.Image) -> tuple[int, int, int]:
    return image.getpixel((image.width // 2, image.height // 2))


@pytest.fixture
def processes(monkeypatch):
    """The processes that were started for documents."""
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, command, **keywords):
            self.environment = keywords["env"]
            super().__init__(command, **keywords)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return started


def running(processes) -> int:
    """How many still run, are zombies, or have a pipe open."""
    return sum(p.returncode is None or not (p.stdin.closed and p.stdout.closed) for p in processes)


def test_pages_in_order(three_pages):
    assert page_count(three_pages) == 3
    pages = list(rendered(str(three_pages)))
    assert [page.mode for page in pages] == ["RGB"] * 3
    colours = [np.eye(3, dtype=int)[number] * 255 for number in range(3)]
    assert np.abs(np.array([middle(page) for page in pages]) - colours).max() < 6


def test_200_dpi_and_no_more_than_the_model_sees(written, three_pages):
    postcard = written(pdf(*one_page(b"0 0 288 432")))  # 4x6 inches
    assert next(rendered(postcard)).size == (800, 1200)
    assert next(rendered(three_pages)).size == (round(LONG_SIDE * 8.5 / 11), LONG_SIDE)
    assert max(next(rendered(three_pages, long_side=300)).size) == 300


@pytest.mark.parametrize(
    ("box", "size"),
    [
        (b"0 0 14400 14400", (LONG_SIDE, LONG_SIDE)),
        (b"0 0 2147483648 2147483648", (LONG_SIDE, LONG_SIDE)),
        (b"-100000000 -100000000 100000000 100000000", (LONG_SIDE, LONG_SIDE)),
        (b"0 0 1000000 1", (LONG_SIDE, 1)),
        (b"0 0 .001 1000000", (1, LONG_SIDE)),
        (b"0 0 .001 .001", (1, 1)),
        (b"0 0 0 0", (1558, LONG_SIDE)),  # PDFium takes Letter
        (b"0 0 1%b 1" % (b"0" * 60), (1558, LONG_SIDE)),
    ],
)
def test_pages_of_any_size_are_images_of_a_limited_one(written, box, size):
    assert next(rendered(written(pdf(*one_page(box))))).size == size


def test_never_a_pixel_more_than_the_long_side(written):
    pages = [b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 500 %d.37] >>" % side for side in range(800, 1000, 7)]
    kids = b" ".join(b"%d 0 R" % number for number in range(3, 3 + len(pages)))
    tree = b"<< /Type /Pages /Count %d /Kids [%b] >>" % (len(pages), kids)
    path = written(pdf(b"<< /Type /Catalog /Pages 2 0 R >>", tree, *pages))
    assert [page.height for page in rendered(path, long_side=500)] == [500] * len(pages)


def test_paper_is_white_and_pages_are_turned(written):
    page = next(rendered(written(pdf(*one_page(content=b"", page=b"/Rotate 90")))))
    assert middle(page) == (255, 255, 255)
    assert page.width > page.height


def test_forms_show_what_was_filled_in(written):
    field = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (x) /Rect [0 0 612 792] /F 4 "
        b"/P 3 0 R /AP << /N 6 0 R >> >>"
    )
    appearance = stream(PAGE_OF_RED, b"/Type /XObject /Subtype /Form /BBox [0 0 612 792]")
    form = one_page(content=b"", page=b"/Annots [5 0 R]", catalogue=b"/AcroForm << /Fields [5 0 R] >>")
    assert middle(next(rendered(written(pdf(*form, field, appearance))))) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", False),
        (b"PDF", False),
        (b"%PDF-1.4", True),
        (b"\xef\xbb\xbf%PDF-1.4", True),
        (b" " * 1019 + b"%PDF-", True),
        (b" " * 1020 + b"%PDF-", False),
    ],
)
def test_recognised_by_content(written, content, expected):
    assert is_pdf(written(content, "photo.jpg")) is expected


def test_bytes_before_the_header(written):
    assert page_count(written(b"\r\n" * 400 + pdf(*one_page()), "scan")) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged or incomplete"),
        (b"\x89PNG\r\n\x1a\n", "not a PDF"),
        (b"%PDF-1.4\n", "damaged or incomplete"),
        (b"%PDF-1.4\n" + bytes(range(256)) * 40, "damaged or incomplete"),
        (pdf(*one_page())[:200], "damaged or incomplete"),
        (NO_PAGES, "no pages"),
        (ENCRYPTED, "password"),
        (BY_CERTIFICATE, "password"),
    ],
)
def test_what_can_not_be_read_is_explained(written, content, words):
    path = written(content)
    for function in (page_count, Document):
        with pytest.raises(ValueError, match=words):
            function(path)


@pytest.mark.parametrize(("claimed", "missing"), [(3, [2, 3]), (2**31 - 1, []), (-3, [])])
def test_pages_that_are_claimed(written, claimed, missing, processes):
    first, *others = rendered(written(pdf(*one_page(count=claimed))))
    assert middle(first) == (255, 0, 0)
    reasons = [f"Page {number} of the PDF is damaged" for number in missing]
    assert [str(page).split(".")[0] for page in others] == reasons
    assert running(processes) == 0


def test_a_damaged_page_does_not_end_the_document(written, processes):
    pages = list(rendered(written(several_pages(b"", None, PAGE_OF_RED))))
    assert isinstance(pages[1], ValueError)
    assert "Page 2 of the PDF is damaged. " in str(pages[1])
    assert [middle(pages[0]), middle(pages[2])] == [(255, 255, 255), (255, 0, 0)]
    assert len(processes) == 1  # the one that counted also renders


def test_a_page_that_takes_too_long_does_not_end_the_document(written, processes):
    path = written(several_pages(b"", SLOW, PAGE_OF_RED))
    pages = list(rendered(path, seconds=2))
    assert "Page 2 of the PDF takes too long to draw. " in str(pages[1])
    assert [middle(pages[0]), middle(pages[2])] == [(255, 255, 255), (255, 0, 0)]
    assert len(processes) == 2
    assert running(processes) == 0


def test_a_document_that_takes_too_long(three_pages, processes):
    for function in (page_count, Document):
        with pytest.raises(ValueError, match="The PDF takes too long to open"):
            function(three_pages, seconds=0.001)
    assert running(processes) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may not limit memory")
def test_memory_is_limited(written, processes):
    resources = b"<< /XObject << /X 4 0 R >> >>"
    path = written(several_pages(b"", b"/X Do", PAGE_OF_RED, resources=resources, others=tuple(nested_forms(20))))
    pages = list(rendered(path, memory=2**28))
    assert "Page 2 of the PDF is damaged or too complex. " in str(pages[1])
    assert [middle(pages[0]), middle(pages[2])] == [(255, 255, 255), (255, 0, 0)]
    assert len(processes) == 2
    assert running(processes) == 0


def test_a_crash_in_opening(three_pages, tmp_path, monkeypatch, processes):
    script = tmp_path / "crash.py"
    script.write_text("import os; os.abort()")
    monkeypatch.setattr(documents, "SCRIPT", str(script))
    for function in (page_count, Document):
        with pytest.raises(ValueError, match="The PDF is damaged or too complex"):
            function(three_pages)
    assert running(processes) == 0


def test_the_largest_page_has_much_memory_left(written):
    assert next(rendered(written(pdf(*one_page(b"0 0 9999 9999"))), memory=2**27)).size == (LONG_SIDE, LONG_SIDE)


@pytest.mark.parametrize("answer", [(0, 10**5, 10**5), (0, 0, 5), (77, 5, 5)])
def test_answers_are_not_trusted(three_pages, tmp_path, monkeypatch, answer):
    """PDFium, taken over by a document, may say anything."""
    script = tmp_path / "taken_over.py"
    answers = sandbox.HEADER.pack(0, 1, 0) + sandbox.HEADER.pack(*answer) + bytes(100)
    script.write_text(f"import sys; sys.stdout.buffer.write({answers!r}); sys.stdout.flush(); sys.stdin.read()")
    monkeypatch.setattr(documents, "SCRIPT", str(script))
    assert "Page 1 of the PDF is damaged or too complex" in str(next(rendered(three_pages)))


def test_the_environment_stays_here(three_pages, monkeypatch, processes):
    monkeypatch.setenv("HF_TOKEN", "secret")
    page_count(three_pages)
    assert "secret" not in str(processes[0].environment)


def test_any_path(three_pages, monkeypatch):
    three_pages.rename(three_pages.parent / "-Größe 大.pdf")
    monkeypatch.chdir(three_pages.parent)
    assert page_count("-Größe 大.pdf") == 3


def test_pages_are_rendered_when_asked_for(three_pages, processes):
    pages = rendered(three_pages)
    assert running(processes) == 0
    next(pages)
    assert running(processes) == 1


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_documents_are_closed_when_the_pages_are_dropped(three_pages, taken, processes):
    pages = rendered(three_pages)
    for _ in range(taken):
        next(pages)
    assert running(processes) == min(taken, 1)
    del pages
    gc.collect()
    assert running(processes) == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer that interrupts")
def test_interrupted_during_a_page(written, processes):
    def interrupt(*_):
        raise KeyboardInterrupt("now")

    pages = rendered(written(several_pages(SLOW)))
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt, match="now"):
            next(pages)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert running(processes) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the open files")
@pytest.mark.parametrize("content", [NO_PAGES, ENCRYPTED, b"%PDF-1.4\n", pdf(*one_page(count=2))])
def test_nothing_stays_open(written, content):
    path = written(content)
    before = open_files()
    with suppress(ValueError):
        list(rendered(path))
    assert sorted(open_files()) == sorted(before)


def open_files() -> list[str]:
    files = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder itself, and what other threads have closed
            files.append(os.readlink(link))
    return files


def test_few_processes_at_once(three_pages, processes):
    """The process that has been idle longest makes room, and its document goes on all the same."""
    several = [Document(three_pages) for _ in range(documents.AT_ONCE + 2)]
    assert running(processes) == documents.AT_ONCE
    assert [middle(document.page(1)) for document in several] == [(254, 0, 0)] * len(several)
    assert running(processes) == documents.AT_ONCE
    for document in several:
        document.close()
    assert running(processes) == 0


def test_a_request_that_ends_takes_its_process_along(written, processes):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    document = Document(written(several_pages(SLOW)))
    with pytest.raises(StoppedError):
        document.page(1, Deadline(stop=stop))
    assert running(processes) == 0


def test_several_at_once(three_pages):
    with ThreadPoolExecutor(4) as threads:
        colours = threads.map(lambda _: tuple(middle(page) for page in rendered(three_pages)), range(8))
        assert len(set(colours)) == 1
