"""A real browser, and windows in which a page may neither complain nor ask for anything."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.figures.crafted import landscape

from alternet.report import render

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--headless=new", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
FLAGS += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # WebGL without a graphics card


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("no chromium here; scripts/browser.sh installs it")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is an optional package")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("turning")
    landscape("ViT").save(folder)
    return render([folder], folder / "report.html")


@pytest.fixture
def visit(browser) -> Iterator:
    """Open a page in a window of a given size; fails at the end if the page complained or asked for anything."""
    complaints: list[str] = []
    contexts = []

    def opened(width: int, height: int, file: Path, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        # drivers of a graphics card that is simulated say how slow they are
        page.on("console", lambda said: "GL Driver" in said.text or "Canvas2D" in said.text or complain(said.text))
        page.on("pageerror", lambda error: complain(error))
        page.on("dialog", lambda dialog: complain(dialog.message))
        page.on("request", lambda request: complain(f"request: {request.url[:80]}"))
        page.goto(file.as_uri())
        complaints.remove(f"request: {file.as_uri()[:80]}")
        return page

    def complain(what: object) -> None:
        complaints.append(str(what))

    yield opened
    for context in contexts:
        context.close()
    assert [c for c in complaints if not c.startswith(("request: data:", "request: blob:"))] == []
