"""Takes the README's screenshots: ``PYTHONPATH=. python tests/screenshots.py``."""

import io
import tempfile
from pathlib import Path

from conftest import EXAMPLES
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from servers import ROOT, Server
from test_browser import ARGUMENTS, DESKTOP, PHONE, Visit, chromium

FOLDER = ROOT / "assets" / "screenshots"


def describe(visitor: Visit) -> None:
    """Two questions about one image."""
    page = visitor.page
    visitor.upload("#describe-image", EXAMPLES / "shapes.png")
    for question in ("Describe this image in detail.", "What color is the star?"):
        page.locator("#describe-question textarea").fill(question)
        page.locator("#describe-ask").click()
        expect(page.locator("#describe-answer")).to_contain_text(question)
        visitor.stats("describe", "complete")


def ocr(visitor: Visit) -> None:
    """A receipt's fields."""
    visitor.open_tab("OCR")
    visitor.upload("#ocr-document", EXAMPLES / "receipt.png")
    visitor.page.get_by_label("JSON fields").check()
    visitor.page.locator("#ocr-ask").click()
    visitor.stats("ocr", "complete")


def compare(visitor: Visit) -> None:
    """Two scenes."""
    visitor.open_tab("Compare")
    visitor.upload("#compare-images", EXAMPLES / "compare_1a.png", EXAMPLES / "compare_1b.png")
    visitor.page.locator("#compare-ask").click()
    visitor.stats("compare", "complete")


def chat(visitor: Visit) -> None:
    """A question with an image, on a phone."""
    visitor.open_tab("Chat")
    box = visitor.page.locator("#chat-box")
    box.locator("input[type=file]").set_input_files(str(EXAMPLES / "street_sign.png"))
    expect(box.locator(".thumbnail-item img")).to_have_count(1)
    box.locator("textarea").fill("What does the sign say?")
    visitor.page.locator("#chat-ask").click()
    visitor.stats("chat", "complete")


def main() -> None:
    """Open, use, save."""
    FOLDER.mkdir(exist_ok=True)
    running = Server(Path(tempfile.mkdtemp()) / "log.txt", "--model", "preview")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            for act, viewport, scheme in (
                (describe, DESKTOP, "light"),
                (ocr, DESKTOP, "dark"),
                (compare, DESKTOP, "light"),
                (chat, PHONE, "dark"),
            ):
                visitor = Visit(browser, running.url, viewport, scheme)
                act(visitor)
                visitor.page.mouse.move(0, 0)
                visitor.page.wait_for_timeout(800)
                image = Image.open(io.BytesIO(visitor.page.screenshot(full_page=True))).convert("RGB")
                image.save(FOLDER / f"{act.__name__}.png", optimize=True)
                visitor.close()
    finally:
        running.stop()


if __name__ == "__main__":
    main()
