"""The page in a real browser: silent, fetching nothing, usable by keyboard, on a phone and in print."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.figures.crafted import calibration, fourier, variance

from alternet.report import render

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--headless=new", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
NAMES = {"ResNet": "resnet50", "ViT": '<script>alert(1)</script>"', "Swin": "swin_tiny_patch4_window7_224@" + "x" * 60}
PANELS = 1 + 3 + 3 + 3

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is an optional package")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; scripts/browser.sh installs it")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    for published, name in NAMES.items():
        for make in (fourier, variance, calibration):
            make(published, name).save(folder / "measured")
    return render([folder], folder / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, report: Path) -> Iterator:
    """Open the page in a window of a given size; fails at the end if the page complained or asked for anything."""
    complaints: list[str] = []
    contexts = []

    def opened(width: int, height: int, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: complaints.append(f"request: {request.url[:80]}"))
        page.goto(report.as_uri())
        complaints.remove(f"request: {report.as_uri()[:80]}")
        if options.get("java_script_enabled", True):
            page.wait_for_function(f"document.querySelectorAll('.plot .main-svg').length >= {3 * PANELS}")
        return page

    yield opened
    for context in contexts:
        context.close()
    asked = [c for c in complaints if not c.startswith(("request: data:", "request: blob:"))]
    assert asked == []


def test_plots_are_drawn_and_nothing_is_fetched(visit):
    page = visit(1280, 900)
    assert page.locator(".plot:visible").count() == PANELS
    assert page.locator(".image:visible").count() == 0
    assert page.locator(".plot .scatterlayer .trace").count() >= 3 + 17 + 25 + 28
    assert page.locator("text=<script>alert(1)</script>").count() > 0


@pytest.mark.parametrize("width", [360, 1280])
def test_no_horizontal_scrolling(visit, width: int):
    page = visit(width, 740)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for details in page.locator("details").all():
        details.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate("[...document.querySelectorAll('.plot')].filter(p => p.offsetWidth > innerWidth).length")
    assert wide == 0


def test_everything_is_reached_and_opened_by_keyboard(visit):
    page = visit(1280, 900)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open") is True
    assert page.locator("details[open] pre").first.is_visible()


def test_hovering_names_the_unit(visit):
    page = visit(1280, 900)
    page.locator(".wide .plot .points path.point").nth(1).hover(force=True)
    page.wait_for_selector(".hoverlayer .hovertext")
    assert "blocks." in page.locator(".hoverlayer .hovertext").first.text_content()


def test_without_scripts_the_figures_are_images(visit):
    page = visit(1280, 900, java_script_enabled=False)
    assert page.locator(".image:visible").count() == 3
    assert page.locator(".plot:visible").count() == 0


def test_print_shows_the_figures_as_images(visit, tmp_path: Path):
    page = visit(1280, 900)
    page.emulate_media(media="print")
    assert page.locator(".image:visible").count() == 3
    assert page.locator(".plot:visible").count() == 0
    printed = page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert printed.startswith(b"%PDF") and len(printed) > 50_000
    assert 2 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") + printed.count(b"/Type/Page/") <= 12


def test_images_are_drawn_too(visit):
    page = visit(1280, 900)
    sizes = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(sizes) == 3 and min(sizes) > 400
