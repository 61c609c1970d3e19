"""The page in a real browser, as a visitor uses it."""

import base64
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import EXAMPLES
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from servers import ROOT, Server

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# A container has no sandbox for Chromium; the rest keeps it from calling home.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
ARGUMENTS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a webcam with a test picture


expect.set_options(timeout=20_000)  # patience, on two cores that also run the model


def chromium() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """A visitor's page, and what went wrong on it."""

    def __init__(self, browser, url, viewport=DESKTOP, scheme="light"):
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.problems, self.foreign = [], []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on(
            "console", lambda message: self.problems.append(message.text) if message.type == "error" else None
        )
        self.page.on(
            "request",
            lambda request: (
                None if request.url.startswith((url, "data:", "blob:")) else self.foreign.append(request.url)
            ),
        )
        self.page.goto(url)
        expect(self.page.locator("#describe-ask")).to_be_visible()
        expect(self.page.locator("#describe-examples img").first).to_be_visible()  # the last that appears

    def upload(self, selector, *paths):
        self.page.locator(f"{selector} input[type=file]").first.set_input_files([str(path) for path in paths])
        expect(self.page.locator(f"{selector} img").first).to_be_visible()

    def open_tab(self, name):
        self.page.get_by_role("tab", name=name).click()

    def open_settings(self):
        field = self.page.get_by_label("number input for Max new tokens")
        if not field.is_visible():
            self.page.locator("#settings button").first.click()
            expect(field).to_be_visible()
            self.page.wait_for_timeout(500)  # Gradio writes the first value a moment after a field has appeared
        return field

    def max_new_tokens(self, number):
        self.open_settings().fill(str(number))

    def begin_a_long_answer(self, image):
        """On the server whose model does not end by itself."""
        self.max_new_tokens(4000)
        self.upload("#describe-image", image)
        self.page.locator("#describe-ask").click()
        self.stats("describe", "tok/s")

    def stats(self, tab, words, timeout=20_000):
        expect(self.page.locator(f"#{tab}-stats")).to_contain_text(re.compile(words), timeout=timeout)

    def close(self):
        self.context.close()


@pytest.fixture
def visit(browser):
    visits = []

    def start(url, **settings):
        visits.append(Visit(browser, url, **settings))
        return visits[-1]

    yield start
    for each in visits:
        each.close()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_describe(server, visit, hello, viewport, scheme):
    visitor = visit(server.url, viewport=viewport, scheme=scheme)
    page = visitor.page
    visitor.upload("#describe-image", hello)
    page.locator("#describe-question textarea").fill("What does the text say?")
    page.locator("#describe-ask").click()
    visitor.stats("describe", "757 image tokens.*tok/s.*complete")
    expect(page.locator("#describe-answer")).to_contain_text("HELLO WORLD")
    expect(page.locator("#describe-ask")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", background)[0]) < 80) == (scheme == "dark")
    assert visitor.problems == []
    assert visitor.foreign == []


def test_what_it_says_before_there_is_an_image(server, visit):
    """Which model this is, what a chip asks, and what is missing; nothing that was typed is lost."""
    page = visit(server.url).page
    expect(page.locator("#status")).to_contain_text("This is the preview model")
    expect(page.locator("#status")).to_contain_text("sdpa")
    page.get_by_role("button", name="Objects and counts").click()
    question = "List the objects in this image with their counts."
    expect(page.locator("#describe-question textarea")).to_have_value(question)
    page.locator("#describe-ask").click()
    expect(page.locator(".toast-body")).to_contain_text("There is no image yet")
    expect(page.locator("#describe-question textarea")).to_have_value(question)
    expect(page.locator("#describe-ask")).to_be_visible()
    page.locator(".toast-close").click()
    page.locator("#describe-web button").first.click()
    address = page.locator("#describe-web").get_by_label("Address")
    address.fill("http://localhost/image.png")
    page.get_by_role("button", name="Fetch").first.click()
    expect(page.locator(".toast-body")).to_contain_text("No public server was found at this address")
    expect(address).to_have_value("http://localhost/image.png")
    expect(page.locator("#describe-image img")).to_have_count(0)


def test_an_example_is_answered_at_a_tap_and_once_more(server, visit):
    visitor = visit(server.url)
    page = visitor.page
    page.locator("#describe-examples .gallery-item").first.click()
    visitor.stats("describe", "complete")
    expect(page.locator("#describe-image img").first).to_be_visible()
    for tab in ("OCR", "Compare"):
        visitor.open_tab(tab)
        page.locator(f"#{tab.lower()}-examples .gallery-item").first.click()
        visitor.stats(tab.lower(), "complete")
        page.locator(f"#{tab.lower()}-again").click()
        visitor.stats(tab.lower(), "cached.*complete")


def test_questions_about_the_same_image_are_a_conversation(server, visit, hello):
    visitor = visit(server.url)
    page, answer = visitor.page, visitor.page.locator("#describe-answer")
    visitor.upload("#describe-image", EXAMPLES / "street_sign.png")
    for question, expected in (("What does the sign say?", "Maple Avenue"), ("What color is the sign?", "green")):
        page.locator("#describe-question textarea").fill(question)
        page.locator("#describe-ask").click()
        expect(answer.locator(".bot").last).to_contain_text(expected)
        visitor.stats("describe", "complete")
    expect(answer).to_contain_text("Maple Avenue")
    answer.get_by_label("Retry").click()
    visitor.stats("describe", "complete")
    expect(answer.locator(".bot.message")).to_have_count(2)
    with page.expect_download() as download:
        page.locator("#describe-save-json").click()
    messages = json.loads(Path(download.value.path()).read_text())["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert messages[0]["content"][0] == {"type": "image", "image": "street_sign.png"}
    assert "Maple Avenue" in messages[1]["content"]
    # Another image begins anew; what was said stays on the page.
    page.locator("#describe-image").get_by_label(re.compile("clear|remove", re.I)).first.click()
    visitor.upload("#describe-image", hello)
    page.locator("#describe-question textarea").fill("What does the text say?")
    page.locator("#describe-ask").click()
    expect(answer).to_contain_text("HELLO WORLD")
    expect(answer).to_contain_text("Maple Avenue")
    expect(answer.locator(".user img")).to_have_count(2)
    assert visitor.problems == []


def test_a_tiff_is_shown_and_read(server, visit, hello, tmp_path):
    scan = tmp_path / "scan.tif"
    Image.open(hello).save(scan)
    visitor = visit(server.url)
    page = visitor.page
    loaded = "images => images.length > 0 && images.every(image => image.complete && image.naturalWidth > 0)"
    for tab, target, files in (
        ("OCR", "#ocr-document", [scan]),
        ("Compare", "#compare-images", [scan, EXAMPLES / "compare_1a.png"]),
    ):
        visitor.open_tab(tab)
        visitor.upload(target, *files)
        expect(page.locator(f"{target} img[src*='scan.png']").first).to_be_visible()
        assert page.locator(f"{target} img").evaluate_all(loaded)
    visitor.open_tab("OCR")
    page.locator("#ocr-ask").click()
    visitor.stats("ocr", "complete")
    expect(page.locator("#ocr-answer textarea")).to_have_value("HELLO WORLD")
    visitor.open_tab("Chat")
    huge = tmp_path / "huge.tif"
    huge.write_bytes(struct.pack("<2sHIH2HII2HIII", b"II", 42, 8, 2, 256, 4, 1, 20000, 257, 4, 1, 20000, 0))
    page.locator("#chat-box input[type=file]").set_input_files(str(huge))
    page.locator("#chat-box textarea").fill("What does the text say?")
    page.locator("#chat-ask").click()
    expect(page.locator(".toast-body").first).to_contain_text("Send a PNG")
    expect(page.locator("#chat-box textarea")).to_have_value("What does the text say?")  # the message is back
    page.locator("#chat-clear").click()
    expect(page.locator("#chat-box textarea")).to_have_value("")
    page.locator("#chat-box input[type=file]").set_input_files(str(scan))
    page.locator("#chat-box textarea").fill("What does the text say?")
    page.locator("#chat-ask").click()
    visitor.stats("chat", "complete")
    expect(page.locator("#chat-answer .user img[src*='scan.png']")).to_be_visible()


def test_half_a_character_in_a_question(server, visit):
    visitor = visit(server.url)
    visitor.upload("#describe-image", EXAMPLES / "street_sign.png")
    # As where a text was cut. Playwright's own way to fill in would mend it.
    fill = "box => { box.value = 'What does the sign say? \\ud83d'; box.dispatchEvent(new Event('input')); }"
    visitor.page.locator("#describe-question textarea").evaluate(fill)
    visitor.page.locator("#describe-ask").click()
    visitor.stats("describe", "complete")
    expect(visitor.page.locator("#describe-answer .user").last).to_contain_text("say? ?")
    assert visitor.problems == []


def test_chat_with_images_in_two_turns(server, visit, hello):
    visitor = visit(server.url)
    visitor.open_tab("Chat")
    page, box = visitor.page, visitor.page.locator("#chat-box")
    page.locator("#chat-ask").click()
    expect(page.locator(".toast-body")).to_contain_text("There is no question yet")
    for image, question in ((hello, "What does the text say?"), (EXAMPLES / "compare_1a.png", "<b>And</b> **this**?")):
        box.locator("input[type=file]").set_input_files(str(image))
        expect(box.locator(".thumbnail-item img")).to_have_count(1)
        box.locator("textarea").fill(question)
        page.locator("#chat-ask").click()
        visitor.stats("chat", "complete")
        expect(box.locator("textarea")).to_have_value("")
    visitor.stats("chat", "1,514 image tokens")
    expect(page.locator("#chat-answer")).to_contain_text("HELLO WORLD")
    expect(page.locator("#chat-answer")).to_contain_text("<b>And</b> **this**?")
    expect(page.locator("#chat-answer .user img")).to_have_count(2)
    page.locator("#chat-clear").click()
    expect(page.locator("#chat-answer .message")).to_have_count(0)
    assert visitor.problems == []


def test_a_chat_message_that_can_not_be_sent_is_not_lost(server, visit, tmp_path):
    visitor = visit(server.url)
    visitor.open_tab("Chat")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    box = visitor.page.locator("#chat-box")
    box.locator("input[type=file]").set_input_files(str(broken))
    expect(box.locator(".thumbnail-item img")).to_have_count(1)
    box.locator("textarea").fill("What is it?")
    visitor.page.locator("#chat-ask").click()
    expect(visitor.page.locator(".toast-body")).to_contain_text("not an image that can be read")
    expect(box.locator("textarea")).to_have_value("What is it?")
    expect(visitor.page.locator("#chat-answer .message")).to_have_count(0)


def test_ocr(server, visit, hello):
    visitor = visit(server.url)
    visitor.open_tab("OCR")
    visitor.upload("#ocr-document", hello)
    visitor.page.locator("#ocr-ask").click()
    visitor.stats("ocr", "complete")
    expect(visitor.page.locator("#ocr-answer textarea")).to_have_value("HELLO WORLD")


def test_pages_that_cannot_be_read_are_not_counted(server, visit, hello, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(hello.read_bytes()[:-400])
    visitor = visit(server.url)
    visitor.open_tab("OCR")
    visitor.page.locator("#ocr-files input[type=file]").set_input_files([damaged, hello])
    expect(visitor.page.locator("#ocr-files")).to_contain_text("damaged")
    visitor.page.locator("#ocr-ask").click()
    visitor.stats("ocr", "1 of 2 pages · 1 could not be read")
    expect(visitor.page.locator("#ocr-answer textarea")).to_have_value(re.compile("HELLO WORLD"))


def test_ocr_of_a_pdf_and_an_image_page_by_page(server, visit, three_pages):
    visitor = visit(server.url)
    page = visitor.page
    visitor.open_tab("OCR")
    page.locator("#ocr-files input[type=file]").set_input_files([str(three_pages), str(EXAMPLES / "street_sign.png")])
    expect(page.locator("#ocr-files")).to_contain_text("street_sign")
    page.locator("#ocr-ask").click()
    expect(page.locator("#ocr-stats progress")).to_be_visible()
    visitor.stats("ocr", "4 of 4 pages", timeout=40_000)
    text = page.locator("#ocr-answer textarea").input_value()
    words = ["page 1", "CORNER BAKERY", "page 2", "ALONE", "page 3", "Oslo", "street_sign", "Maple Avenue"]
    assert sorted(words, key=text.index) == words
    with page.expect_download() as download:
        page.locator("#ocr-save-zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 4
        assert "ALONE" in archive.read(archive.namelist()[1]).decode()
    with page.expect_download() as download:
        page.locator("#ocr-save-file").click()
    assert download.value.suggested_filename == "pages.txt"
    assert visitor.problems == []


def test_stop_ends_the_reading_of_pages_and_keeps_what_is_there(server, visit, three_pages, tmp_path):
    visitor = visit(server.url)
    visitor.open_tab("OCR")
    files = [three_pages, EXAMPLES / "receipt.png", EXAMPLES / "table.png", EXAMPLES / "revenue_chart.png"]
    for number in range(18):  # each its own: a file that is sent twice is read once
        image = Image.open(EXAMPLES / "receipt.png").convert("RGB")
        image.putpixel((0, 0), (number, 0, 0))
        files.append(tmp_path / f"receipt {number}.png")
        image.save(files[-1])
    visitor.page.locator("#ocr-files input[type=file]").set_input_files([str(file) for file in files])
    expect(visitor.page.locator("#ocr-files")).to_contain_text("receipt 17")
    visitor.page.locator("#ocr-ask").click()
    visitor.stats("ocr", r"Page ([2-9]|1\d) of 24")  # pages seen before pass faster than a browser is looked at
    visitor.page.locator("#ocr-stop").click()
    visitor.stats("ocr", r"\b([1-9]|1\d|2[0-3]) of 24 pages.*stopped")
    assert "CORNER BAKERY" in visitor.page.locator("#ocr-answer textarea").input_value()
    expect(visitor.page.locator("#ocr-ask")).to_be_visible()


def test_ocr_shows_markdown_rendered(server, visit):
    visitor = visit(server.url)
    visitor.open_tab("OCR")
    visitor.upload("#ocr-document", EXAMPLES / "table.png")
    visitor.page.get_by_label("Markdown").check()
    visitor.page.locator("#ocr-ask").click()
    visitor.stats("ocr", "complete")
    text = visitor.page.locator("#ocr-answer textarea").input_value()
    assert text
    expect(visitor.page.locator("#ocr-rendered")).to_contain_text(re.search(r"\w+", text).group())


def test_images_to_compare_are_moved_and_laid_over_each_other(server, visit):
    visitor = visit(server.url)
    page, images = visitor.page, visitor.page.locator("#compare-images")
    visitor.open_tab("Compare")
    visitor.upload("#compare-images", EXAMPLES / "compare_1a.png", EXAMPLES / "compare_1b.png")
    expect(page.locator("#compare-slider img").first).to_be_visible()
    page.locator("#compare-ask").click()
    visitor.stats("compare", "complete")
    expect(page.locator("#compare-answer")).to_contain_text("is blue in the first image and orange in the second")
    page.get_by_role("button", name="Move later").click()
    expect(page.locator(".toast-body")).to_contain_text("Tap an image first")
    images.locator(".gallery-item").first.click()
    page.get_by_role("button", name="Move later").click()
    expect(page.locator("#compare-slider img").first).to_have_attribute("src", re.compile("compare_1b"))
    page.locator("#compare-ask").click()
    visitor.stats("compare", "complete")
    expect(page.locator("#compare-answer")).to_contain_text("is orange in the first image and blue in the second")
    assert visitor.problems == []


def test_compare_shows_what_the_images_cost(server, visit, hello):
    visitor = visit(server.url)
    cost = visitor.page.locator("#compare-cost")
    visitor.open_tab("Compare")
    visitor.upload("#compare-images", EXAMPLES / "compare_1a.png", EXAMPLES / "compare_1b.png")
    expect(cost).to_contain_text("2 × 757 = 1,514 image tokens of the context's 4,096")
    expect(cost).not_to_contain_text("too much")
    visitor.page.locator("#compare-clear").click()
    expect(visitor.page.locator("#compare-images img")).to_have_count(0)
    expect(cost).to_have_text(re.compile(r"^\s*$"))
    visitor.upload("#compare-images", *[hello] * 7)
    expect(cost).to_contain_text("That is too much")
    visitor.page.locator("#compare-images .gallery-item").first.click()
    for _ in range(2):
        visitor.page.get_by_role("button", name="Remove", exact=True).click()
        visitor.page.locator("#compare-images .thumbnail-item, #compare-images .gallery-item").first.click()
    expect(cost).to_contain_text("5 × 757 = 3,785 image tokens")


def test_a_caret_shows_where_the_answer_grows_and_stop_keeps_what_is_there(endless_server, visit, hello):
    visitor = visit(endless_server.url)
    page = visitor.page
    visitor.begin_a_long_answer(hello)
    caret = """() => [...document.querySelectorAll("#describe-answer .bot .prose > *")]
        .some((each) => getComputedStyle(each, "::after").content === '""')"""
    page.wait_for_function(caret)
    page.locator("#describe-stop").click()
    visitor.stats("describe", "stopped")
    page.wait_for_function(f"!({caret})()")
    expect(page.locator("#describe-ask")).to_be_visible()
    before = page.locator("#describe-answer").inner_text()
    page.wait_for_timeout(1000)
    assert page.locator("#describe-answer").inner_text() == before != ""
    # The model is free: the next answer comes at once.
    visitor.max_new_tokens(3)
    page.locator("#describe-ask").click()
    visitor.stats("describe", "3 new.*cut off")


def test_a_new_question_takes_the_place_of_the_one_before(endless_server, visit, hello):
    visitor = visit(endless_server.url)
    page = visitor.page
    visitor.begin_a_long_answer(hello)
    visitor.max_new_tokens(5)
    page.locator("#describe-question textarea").press("Enter")
    visitor.stats("describe", "5 new.*cut off")
    expect(page.locator("#describe-ask")).to_be_visible()
    expect(page.locator("#describe-stop")).to_be_hidden()


def test_clear_during_an_answer(endless_server, visit, hello):
    visitor = visit(endless_server.url)
    page = visitor.page
    visitor.upload("#describe-image", hello)
    page.locator("#describe-ask").click()
    visitor.stats("describe", "tok/s")
    page.locator("#describe-clear").click()
    expect(page.locator("#describe-ask")).to_be_visible()
    page.wait_for_timeout(1000)
    expect(page.locator("#describe-answer .message")).to_have_count(0)
    expect(page.locator("#describe-stats")).to_have_text(re.compile(r"^\s*$"))


def test_drop_paste_and_clear(server, visit, hello):
    """An image that is dropped, and one on the clipboard."""
    visitor = visit(server.url)
    page, image = visitor.page, visitor.page.locator("#describe-image")
    content = base64.b64encode(hello.read_bytes()).decode()
    transfer = page.evaluate_handle(
        """data => {
            const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
            return transfer;
        }""",
        content,
    )
    image.locator("button").filter(has_text="Drop").first.dispatch_event("drop", {"dataTransfer": transfer})
    expect(image.locator("img").first).to_be_visible()
    page.locator("#describe-clear").click()
    expect(image.locator("img")).to_have_count(0)
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async data => {
            const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
            const image = new Blob([bytes], {type: "image/png"});
            await navigator.clipboard.write([new ClipboardItem({"image/png": image})]);
        }""",
        content,
    )
    image.get_by_label(re.compile("clipboard", re.I)).click()
    expect(image.locator("img").first).to_be_visible()
    page.locator("#describe-question textarea").fill("What does the text say?")
    page.locator("#describe-ask").click()
    visitor.stats("describe", "complete")
    expect(page.locator("#describe-answer")).to_contain_text("HELLO WORLD")
    page.locator("#describe-clear").click()
    expect(page.locator("#describe-question textarea")).to_have_value("")
    expect(page.locator("#describe-answer")).not_to_contain_text("HELLO")
    expect(image.locator("img")).to_have_count(0)


def test_webcam(server, visit):
    visitor = visit(server.url)
    visitor.context.grant_permissions(["camera"])
    image = visitor.page.locator("#describe-image")
    image.get_by_label("Capture from camera").click()
    image.get_by_text(re.compile("click to access webcam", re.I)).click()
    visitor.page.wait_for_function("document.querySelector('#describe-image video')?.videoWidth > 0")
    image.get_by_label(re.compile("capture photo", re.I)).click()
    expect(image.locator("img").first).to_be_visible()
    visitor.page.locator("#describe-ask").click()
    visitor.stats("describe", "complete|cut off")


def test_the_code_that_is_shown_runs(server, visit, tmp_path):
    visitor = visit(server.url)
    visitor.page.locator("#describe-question textarea").fill("What does the sign say?")
    visitor.page.locator("#describe-code button").first.click()
    code = visitor.page.locator("#describe-code .cm-content")
    expect(code).to_contain_text("What does the sign say?")
    shutil.copy(EXAMPLES / "street_sign.png", tmp_path / "image.png")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code.inner_text()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert "Maple" in done.stdout, done.stderr


def test_the_code_of_several_pages_reads_one_after_another(server, visit):
    visitor = visit(server.url)
    visitor.open_tab("OCR")
    files = [EXAMPLES / "street_sign.png", EXAMPLES / "receipt.png"]
    visitor.page.locator("#ocr-files input[type=file]").first.set_input_files(files)
    visitor.page.locator("#ocr-code button").first.click()
    code = visitor.page.locator("#ocr-code .cm-content")
    expect(code).to_contain_text('images = [open_image("image_1.png"), open_image("image_2.png")]')
    expect(code).to_contain_text("for image in images:")
    expect(code).not_to_contain_text("image_3.png")


@pytest.mark.parametrize("width", [1280, 1920])
def test_all_tabs_are_equally_wide(server, visit, width):
    visitor = visit(server.url, viewport={"width": width, "height": 900})
    widths = set()
    for name in ("Describe", "OCR", "Compare", "Chat"):
        visitor.open_tab(name)
        widths.add(visitor.page.locator("#tabs").bounding_box()["width"])
    assert len(widths) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(server, visit, scheme):
    """axe-core finds nothing serious on any tab."""
    visitor = visit(server.url, scheme=scheme)
    for tab in ("Describe", "OCR", "Chat", "Compare"):
        visitor.open_tab(tab)
        visitor.page.wait_for_timeout(500)
        found = Axe().run(visitor.page).response["violations"]
        serious = [
            (each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")
        ]
        assert not serious, (tab, *serious)
    expect(visitor.page.get_by_role("button", name="Example: compare 1a")).to_be_visible()


def test_a_setting_that_is_out_of_bounds_is_named_and_nothing_is_lost(server, visit, hello):
    visitor = visit(server.url)
    page = visitor.page
    visitor.upload("#describe-image", hello)
    page.locator("#describe-question textarea").fill("What does the text say?")
    visitor.open_settings()
    for seed in ("99999999999999", ""):
        page.get_by_label("Seed").fill(seed)
        page.locator("#describe-ask").click()
        expect(page.locator(".toast-body").last).to_contain_text("seed must be a whole number between -1")
        expect(page.locator("#describe-ask")).to_be_visible()
        page.locator(".toast-close").first.click()
    page.get_by_label("Seed").fill("-1")
    page.locator("#describe-ask").click()
    visitor.stats("describe", "complete")
    expect(page.locator("#describe-answer")).to_contain_text("HELLO WORLD")
    assert visitor.problems == []


def test_what_is_typed_while_a_message_is_answered_stays(server, visit, hello):
    visitor = visit(server.url)
    visitor.open_tab("Chat")
    page, box = visitor.page, visitor.page.locator("#chat-box")
    box.locator("input[type=file]").set_input_files(str(hello))
    expect(box.locator(".thumbnail-item img")).to_have_count(1)
    box.locator("textarea").fill("What does the text say?")
    page.locator("#chat-ask").click()
    expect(box.locator("textarea")).to_have_value("")
    box.locator("textarea").fill("A draft")
    visitor.stats("chat", "complete")
    page.locator("#chat-answer").get_by_label("Retry").click()
    visitor.stats("chat", "cached.*complete")
    expect(box.locator("textarea")).to_have_value("A draft")


def test_the_keyboard_alone(server, visit, hello):
    visitor = visit(server.url)
    page = visitor.page
    visitor.upload("#describe-image", hello)
    page.locator("#describe-question textarea").focus()
    outline = "getComputedStyle(document.querySelector('#describe-question')).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.type("What does the text say?")
    page.locator("#describe-ask").focus()
    page.keyboard.press("Enter")
    visitor.stats("describe", "complete")
    expect(page.locator("#describe-ask")).to_be_focused()
    expect(page.locator(".said")).to_contain_text("complete")
    page.keyboard.press("Enter")
    expect(page.locator("#describe-answer .bot.message")).to_have_count(2)


def test_settings_are_kept_and_a_link_restores_them_with_tab_and_question(server, visit):
    first = visit(server.url)
    first.max_new_tokens(66)
    first.page.get_by_label("number input for Max new tokens").press("Tab")
    first.page.wait_for_function("localStorage.getItem('phi3v-settings')?.includes('66')")
    first.page.reload()
    expect(first.page.locator("#describe-examples img").first).to_be_visible()
    first.page.locator("#settings button").first.click()
    expect(first.page.get_by_label("number input for Max new tokens")).to_have_value("66")
    assert first.problems == []
    first.open_tab("Compare")
    first.page.get_by_role("button", name="In common").click()
    expect(first.page.locator("#compare-question textarea")).to_have_value(re.compile("common"))
    first.page.locator("#copy-link").click()
    expect(first.page).to_have_url(re.compile("tab=compare.*max_new_tokens=66"))
    second = visit(server.url).page
    second.goto(first.page.url + "&temperature=99&seed=x")
    expect(second.locator("#compare-question textarea")).to_have_value(re.compile("common"))
    expect(second.locator("#compare-ask")).to_be_visible()
    second.locator("#settings button").first.click()
    expect(second.get_by_label("number input for Max new tokens")).to_have_value("66")
    expect(second.get_by_label("number input for Temperature")).to_have_value("0")


def test_two_visitors_do_not_see_each_other(server, visit, hello):
    first, second = visit(server.url), visit(server.url)
    first.upload("#describe-image", hello)
    first.page.locator("#describe-ask").click()
    first.stats("describe", "complete")
    assert second.page.locator("#describe-image img").count() == 0
    expect(second.page.locator("#describe-answer")).not_to_contain_text("HELLO")


def test_a_model_that_can_not_be_had_and_the_offer_of_the_bundled_one(tmp_path, visit, hello, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    running = Server(tmp_path / "log.txt", "--model", "nobody/nothing")
    try:
        with pytest.raises(AppError, match="hf download nobody/nothing"):
            Client(running.url, verbose=False).predict(handle_file(hello), api_name="/ocr")
        assert "Traceback" not in running.log()
        visitor = visit(running.url)
        page = visitor.page
        expect(page.locator("#status")).to_contain_text("nobody/nothing could not be fetched")
        page.locator("#use-preview").click()
        expect(page.locator("#status")).to_contain_text("This is the preview model")
        visitor.upload("#describe-image", hello)
        page.locator("#describe-question textarea").fill("What does the text say?")
        page.locator("#describe-ask").click()
        visitor.stats("describe", "complete")
        expect(page.locator("#describe-answer")).to_contain_text("HELLO WORLD")
    finally:
        running.stop()


def test_stop_while_others_are_answered_ends_at_once(endless_server, visit, hello):
    """A request that waits its turn leaves the line, and the others go on."""
    client = Client(endless_server.url, verbose=False)
    before = [client.submit(handle_file(hello), "What?", max_new_tokens=4000, api_name="/describe") for _ in range(3)]
    try:
        visitor = visit(endless_server.url)
        visitor.upload("#describe-image", hello)
        visitor.page.locator("#describe-ask").click()
        visitor.stats("describe", "Waiting: [123] request")
        visitor.page.locator("#describe-stop").click()
        expect(visitor.page.locator("#describe-ask")).to_be_visible(timeout=5000)
        visitor.stats("describe", "stopped")
        assert not all(job.done() for job in before)
    finally:
        for job in before:
            job.cancel()


def test_copied_is_said_only_where_it_was(server, browser, tmp_path):
    """In another site's frame, which lacks the permission, the link is shown instead."""
    (tmp_path / "index.html").write_text(f'<iframe src="{server.url}" width="1200" height="800"></iframe>')
    site = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(f"http://localhost:{site.server_address[1]}/")
        frame = page.frame_locator("iframe")
        frame.locator("#copy-link").click()
        expect(frame.locator("#link-to-copy")).to_have_value(re.compile(r"^http://127\.0\.0\.1:\d+/\?tab=describe"))
        expect(frame.locator("#copy-link")).not_to_contain_text("Copied")
    finally:
        context.close()
        site.shutdown()
