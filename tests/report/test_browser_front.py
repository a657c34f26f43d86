"""The page of many networks in a real browser: its table in front, what is switched, folded and printed, and axe."""

import re
from pathlib import Path

import pytest
from tests.figures.crafted import MAKERS, claims, comparison

from alternet.instruments import figures
from alternet.measurement import Measurement
from alternet.report.contents import contents, in_one_order
from alternet.report.render import html

pytestmark = pytest.mark.slow

SINGLE = ("claims", "buildup", "epochs")
"""Of these there is one for all networks."""


def written(file: Path, networks: int, *, without: tuple[str, ...] = ("landscape",)) -> Path:
    """A report on so many networks by every instrument, the claims and a comparison of two, without files beside it."""
    published = ("ResNet", "ViT", "PiT", "Swin")
    names = [published[turn % 4] + (f" {turn // 4 + 1}" if turn > 3 else "") for turn in range(networks)]
    made = [claims("measured"), comparison("ViT − ResNet")]
    for instrument, make in MAKERS.items():
        if instrument not in (*SINGLE, "comparison", *without):
            parts = [make(name.split()[0]).renamed({name.split()[0]: name}) for name in names]
            made.append(Measurement.concat(parts))
    with figures.cast(in_one_order(made)):
        file.write_text(html(contents(made, ("The training of ViT is not finished.",))), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("twelve") / "report.html", 12)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("three") / "report.html", 3)


def test_the_key_numbers_of_twelve_networks_are_one_screen(visit, twelve: Path):
    page = visit(1440, 900, twelve)
    box = page.locator("#front").bounding_box()
    assert page.locator(".key tbody tr:visible").count() == 12
    assert page.locator(".key thead [scope=col]").count() >= 1 + 9
    assert box["y"] + box["height"] <= 900
    wide = page.locator(".front .scroll").evaluate("one => one.scrollWidth <= one.clientWidth")
    assert wide, "the table must be pushed aside to be read"
    assert twelve.stat().st_size <= 2_000_000


def test_on_a_phone_no_section_is_longer_than_three_screens(visit, tmp_path: Path):
    page = visit(390, 844, written(tmp_path / "report.html", 3, without=()))
    page.wait_for_timeout(300)
    heights = page.evaluate(
        "[...document.querySelectorAll('section')].map(s => [s.id, s.getBoundingClientRect().height])"
    )
    assert len(heights) > len(MAKERS) - len(SINGLE)
    assert [(name, height) for name, height in heights if height > 3 * 844] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_no_violation(visit, three: Path, scheme: str, width: int):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="an optional package").Axe()
    page = visit(width, 900, three, color_scheme=scheme)
    page.get_by_role("button", name="ViT").first.click()  # what is switched off can be read as well
    for details in page.locator("details").all():
        details.evaluate("one => { one.open = true; }")
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()


def test_axe_finds_no_violation_in_a_surface(visit, turning: Path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="an optional package").Axe()
    found = axe.run(visit(1440, 900, turning))
    assert found.violations_count == 0, found.generate_report()


def test_rows_are_sorted_by_any_number_and_narrowed_by_name(visit, three: Path):
    page = visit(1440, 900, three)
    names = page.locator(".key tbody tr:visible [scope=row]")
    head = page.locator(".key th").filter(has=page.get_by_role("button", name=re.compile("^APE")))

    def ape() -> list[float]:
        place = head.evaluate("one => one.cellIndex")
        return page.locator(f".key tbody tr:visible td:nth-child({place + 1})").evaluate_all(
            "all => all.map(one => Number(one.dataset.sort))"
        )

    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending" and ape() == sorted(ape())  # the best leads
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending" and ape() == sorted(ape(), reverse=True)
    page.locator(".key").get_by_role("button", name="Attention low-pass").click()
    assert head.get_attribute("aria-sort") == "none"
    assert "ResNet" in names.last.inner_text()  # which has no attention
    page.get_by_label("Show").fill("vit")
    assert [name.strip() for name in names.all_inner_texts()] == ["ViT"]
    assert page.locator("#shown").inner_text() == "1 of 3 shown"
    page.get_by_label("Show").fill("")
    assert names.count() == 3 and page.locator("#shown").inner_text() == ""


def test_a_number_leads_to_its_figure(visit, three: Path):
    page = visit(1440, 900, three, reduced_motion="reduce")
    page.locator(".key td a").first.click()
    place = page.evaluate("location.hash")
    assert page.locator(place).locator("h2").inner_text() == "Calibration"
    assert page.locator(place).bounding_box()["y"] < 60


def test_all_networks_are_switched_at_once_and_pictures_of_one_go_with_it(visit, three: Path):
    page = visit(1440, 900, three)
    of_vit = page.locator(".panel").filter(has=page.get_by_role("heading", name="ViT", exact=True))
    shared = page.locator(".panel").filter(
        has=page.get_by_role("heading", name="At the highest frequency of each feature map", exact=True)
    )
    count = of_vit.count()
    assert count >= 4
    toggle = page.locator(".key").get_by_role("button", name="ViT")
    toggle.click()
    assert of_vit.locator("visible=true").count() == 0 and shared.is_visible()
    everything = page.locator("#everything")
    assert everything.get_attribute("aria-pressed") == "false"
    everything.click()
    assert toggle.get_attribute("aria-pressed") == everything.get_attribute("aria-pressed") == "true"
    assert of_vit.first.is_visible()
    everything.click()
    pressed = page.locator("button[data-models]").evaluate_all("all => all.map(one => one.ariaPressed)")
    assert set(pressed) == {"false"}


def test_a_picture_is_described_by_the_sentences_with_its_numbers(visit, three: Path):
    page = visit(1440, 900, three)
    for frame in page.locator(".plot").all():
        said = page.locator(f"#{frame.get_attribute('aria-describedby')}").inner_text()
        assert any(letter.isdigit() for letter in said) and frame.get_attribute("aria-label")


def test_what_is_folded_away_is_printed_and_no_picture_is_cut(visit, three: Path):
    page = visit(1440, 900, three)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.keep").count() == page.locator("details.keep[open]").count() > 5
    assert page.locator("details:not(.keep):visible").count() == 0
    page.set_viewport_size({"width": 673, "height": 1001})  # what A4 leaves
    high = page.locator(".panel").evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
    assert max(high) < 1001
    assert page.locator(".panel").first.evaluate("one => getComputedStyle(one).breakInside") == "avoid"
    assert page.evaluate("document.documentElement.scrollWidth") <= 673
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.keep[open]").count() == 0
