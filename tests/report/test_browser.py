"""The page in a real browser: silent, fetching nothing, usable by keyboard, on a phone and in print."""

import re
from pathlib import Path

import pytest
from tests.figures.crafted import calibration, fourier, landscape, variance

from alternet.report import render
from alternet.shown import as_text

NAMES = {"ResNet": "resnet50", "ViT": '<script>alert(1)</script>"', "Swin": "swin_tiny_patch4_window7_224@" + "x" * 60}
PANELS = 4 + 3 + 3
COLOURS = {"paper": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    for published, name in NAMES.items():
        for make in (fourier, variance, calibration):
            make(published, name).save(folder / "measured")
    return render([folder], folder / "report.html")


@pytest.fixture
def visit(visit, report: Path):
    """Open that report, where no other file is named."""
    return lambda width, height, file=report, **options: visit(width, height, file, **options)


def plot(page, title: str, section: int = 1):
    """The frame of the picture under a heading."""
    panel = page.locator(f"#section-{section} .panel").filter(has=page.get_by_role("heading", name=title, exact=True))
    return panel.locator(".plot")


ENDS = "At the highest frequency of each feature map"


def hover(page, frame, x: float, y: float) -> str:
    """What is said at a place of a picture, given in its own units."""
    frame.scroll_into_view_if_needed()
    at = frame.locator("svg").evaluate(
        "(svg, [x, y]) => { const p = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM()); return [p.x, p.y]; }",
        [x, y],
    )
    page.mouse.move(*at)
    return frame.locator(".tip").inner_text()


def targets(frame) -> list:
    return frame.evaluate("plot => unpack(plot.parentElement.querySelector('script.targets').textContent)")


def test_pictures_are_drawn_and_nothing_is_fetched(visit):
    page = visit(1280, 900)
    assert page.locator(".plot > svg:visible").count() == PANELS
    sizes = page.evaluate(
        "[...document.querySelectorAll('.plot > svg')].map(svg => svg.getBoundingClientRect().height)"
    )
    assert min(sizes) > 150
    texts = page.locator(".plot svg text").all_text_contents()
    assert any("<script>" in text for text in texts) and "normalised depth (0: stem, 1: last unit)" in texts
    assert page.locator("text=<script>alert(1)</script>").count() > 0


@pytest.mark.parametrize("width", [390, 1280])
def test_no_horizontal_scrolling_and_letters_that_can_be_read(visit, width: int):
    page = visit(width, 740)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for details in page.locator("details").all():
        details.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.querySelectorAll('.plot')].filter(p => p.offsetWidth > innerWidth).length") == 0
    scales = page.evaluate("[...document.querySelectorAll('.plot > svg')].map(svg => svg.getScreenCTM().a)")
    assert 9 * min(scales) > 8  # labels have nine points


def test_what_is_pointed_at_is_named(visit):
    page = visit(1280, 900)
    frame = plot(page, ENDS)
    curve = next(group for group in targets(frame) if group["name"] == "resnet50" and len(group["boxes"][0]) == 2)
    for number in (0, 7, 16):
        said = hover(page, frame, *curve["boxes"][number])
        assert said.splitlines() == ["resnet50", *curve["texts"][number].splitlines()]
        assert f"blocks.{number} " in said
    mark = frame.locator(".mark").bounding_box()
    tip = frame.locator(".tip").bounding_box()
    assert tip["x"] >= 0 and tip["x"] + tip["width"] <= 1280 and abs(tip["y"] + tip["height"] - mark["y"]) < 60
    page.mouse.move(1, 1)
    assert not frame.locator(".tip").is_visible() and not frame.locator(".mark.seen").count()
    assert hover(page, frame, 300, 5) == ""


def test_a_finger_asks_and_does_not_enlarge(visit):
    page = visit(390, 740, has_touch=True)
    frame = plot(page, "resnet50", section=2)
    frame.scroll_into_view_if_needed()
    box, (curve,) = frame.bounding_box(), targets(frame)
    scale = frame.locator("svg").evaluate("svg => svg.getScreenCTM().a")
    x, y = (side * scale for side in curve["boxes"][3])
    page.touchscreen.tap(box["x"] + x, box["y"] + y)
    assert "blocks.3" in frame.locator(".tip").inner_text()
    tip = frame.locator(".tip").bounding_box()
    assert tip["x"] >= 0 and tip["x"] + tip["width"] <= 390
    assert page.locator("dialog[open]").count() == 0
    page.locator("#section-2 .larger").first.tap()
    assert page.locator("dialog[open] .plot").count() == 1


def test_keys_walk_from_place_to_place(visit):
    page = visit(1280, 900)
    frame = plot(page, ENDS)
    page.locator("#section-1 button[data-models]").last.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert frame.evaluate("plot => plot === document.activeElement")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tip = frame.locator(".tip")
    assert tip.is_visible() and tip.get_attribute("role") == "status"
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    second = tip.inner_text()
    assert second != first and "blocks.2 " in second
    page.keyboard.press("ArrowLeft")
    assert tip.inner_text() == first
    lines = {first.splitlines()[0]}
    for _ in range(5):
        page.keyboard.press("ArrowDown")
        lines.add(tip.inner_text().splitlines()[0])
    assert lines == set(NAMES.values())
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert not tip.is_visible()


def test_a_model_that_is_switched_off_is_dimmed_everywhere_and_silent(visit):
    page = visit(1280, 900)
    frame, button = plot(page, ENDS), page.get_by_role("button", name="resnet50").first
    seen = "all => all.map(one => getComputedStyle(one).opacity)"
    place = button.get_attribute("data-models")
    assert set(page.locator(f".plot .m{place}").evaluate_all(seen)) == {"1"}
    button.click()
    page.wait_for_timeout(300)
    assert button.get_attribute("aria-pressed") == "false"
    assert set(page.locator(f".plot .m{place}").evaluate_all(seen)) == {"0.07"}
    others = page.locator(f".plot svg [class^=m]:not(.m{place}):not(.mark)").evaluate_all(seen)
    assert set(others) == {"1"} and len(others) > 50
    assert set(frame.locator("svg > text").evaluate_all(seen)) == {"1"}  # axes stay
    curve = next(group for group in targets(frame) if group["name"] == "resnet50" and len(group["boxes"][0]) == 2)
    assert "resnet50" not in hover(page, frame, *curve["boxes"][0])
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert set(page.locator(f".plot .m{place}").evaluate_all(seen)) == {"1"}
    assert "resnet50" in hover(page, frame, *curve["boxes"][0])


@pytest.mark.parametrize("way", ["click", "key", "button"])
def test_a_panel_is_enlarged_and_put_back(visit, way: str):
    page = visit(1280, 900)
    frame = plot(page, "resnet50", section=2)
    order = page.locator("h3").all_text_contents()
    small, high = frame.bounding_box()["width"], page.evaluate("document.documentElement.scrollHeight")
    if way == "click":
        frame.click()
    elif way == "key":
        frame.focus()
        page.keyboard.press("Enter")
    else:
        frame.locator("xpath=..").locator(".larger").click()
    dialog = page.locator("dialog[open]")
    assert dialog.get_attribute("aria-label") == "resnet50"
    large = dialog.locator(".plot")
    assert large.bounding_box()["width"] > 1.5 * small
    assert large.evaluate("plot => plot === document.activeElement")
    assert page.evaluate("document.documentElement.scrollHeight") == pytest.approx(high, abs=2)
    (curve,) = targets(large)
    assert "blocks.3" in hover(page, large, *curve["boxes"][3])
    page.keyboard.press("Escape")
    page.locator("dialog .panel").wait_for(state="detached")
    assert page.locator("dialog[open]").count() == 0
    assert page.locator("h3").all_text_contents() == order
    assert plot(page, "resnet50", section=2).bounding_box()["width"] == small


def test_everything_is_reached_and_opened_by_keyboard(visit):
    page = visit(1280, 900)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
    reached = set()
    for _ in range(140):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.className || document.activeElement.tagName"))
        if "plot" in reached and page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    assert {"plot", "larger", "BUTTON", "SUMMARY"} <= reached
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open") is True
    assert page.locator("details[open] p").first.is_visible()


def test_in_the_dark_pictures_stay_on_paper_and_what_is_around_them_is_dark(visit):
    page = visit(1280, 900, color_scheme="dark")
    colour = "one => getComputedStyle(one).backgroundColor"
    assert page.locator("body").evaluate(colour) == COLOURS["dark"]
    assert set(page.locator(".panel, .legend svg").evaluate_all(f"all => all.map({colour})")) == {COLOURS["paper"]}
    ink = page.locator(".panel h3").first.evaluate("one => getComputedStyle(one).color")
    assert ink == "rgb(31, 35, 40)"
    frame = plot(page, ENDS)
    frame.click()
    assert page.locator("dialog[open]").evaluate(colour) == COLOURS["paper"]


def test_without_scripts_the_pictures_are_there_and_nothing_pretends_to_answer(visit):
    page = visit(1280, 900, java_script_enabled=False)
    assert page.locator(".plot > svg:visible").count() == PANELS
    assert page.locator("button:enabled").count() == 0 and page.locator(".larger").count() == 0


def test_print_shows_the_pictures_alone(visit, tmp_path: Path):
    page = visit(1280, 900)
    page.emulate_media(media="print")
    assert page.locator(".plot > svg:visible").count() == PANELS
    assert page.locator(".larger:visible, .tip:visible").count() == 0
    printed = page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert printed.startswith(b"%PDF") and len(printed) > 50_000
    assert 2 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") + printed.count(b"/Type/Page/") <= 12


def test_a_surface_turns_in_place_of_its_picture_and_the_picture_returns_in_print(visit, turning: Path):
    page = visit(1280, 900, file=turning)
    panel = page.locator(".panel").first
    panel.locator(".turning .main-svg").first.wait_for()
    assert not panel.locator(".plot > svg").is_visible()
    assert page.locator(".panel").nth(1).locator(".plot > svg").is_visible()
    panel.locator(".larger").click()
    assert page.locator("dialog[open] .turning").bounding_box()["height"] > 500
    page.keyboard.press("Escape")
    page.locator("dialog .panel").wait_for(state="detached")  # closed first, then its panel goes back to the page
    page.emulate_media(media="print")
    assert panel.locator(".plot > svg").is_visible() and not panel.locator(".turning").is_visible()


HOSTILE = (
    '"><img src=http://127.0.0.1:9/x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "</title></style><svg onload=alert(3)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(4)",
    "<iframe srcdoc='<script>parent.alert(5)</script>'>",
    "&lt;b&gt;&#x1b;[2J\x1b[31m",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<base href=http://127.0.0.1:9/><link rel=stylesheet href=x>",
    "]]><!--<script>alert(6)</script>",
    "$\\href{http://127.0.0.1:9/}{x}$",
    "\u202etxt.exe",
)
"""Names that would run, fetch or hide something, if the page let them."""


def test_hostile_names_run_nothing_fetch_nothing_and_stand_as_they_are(visit, tmp_path: Path) -> None:
    for published, name in zip(("ResNet", "ViT", "Swin") * 4, HOSTILE, strict=True):
        for make in (fourier, calibration):
            make(published, name).save(tmp_path / "measured")
    landscape(HOSTILE[0]).save(tmp_path / "measured")  # plotly's page, which the hash of its script lets run
    page = visit(1280, 900, render([tmp_path / "measured"], tmp_path / "report.html"))
    page.wait_for_timeout(500)
    assert page.url.startswith("file:") and page.evaluate("document.querySelectorAll('iframe, base, link').length") == 1
    text = page.evaluate("document.body.textContent")
    assert [name for name in HOSTILE if as_text(name) not in text] == []
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page.inner_html("header") + page.inner_html("main"))
    policy = page.evaluate("document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert page.evaluate("[...document.scripts].every(one => one.src === '' && one.type !== 'module')")
