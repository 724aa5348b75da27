"""The documentation, opened in a browser that has no network.

Needs the extra ``browser``, Chromium with its driver, and the built pages, all of one build
(``sphinx -E``), since the search forgets the index entries of pages that were not read again:
``python -m pytest tests/browser --site build/html``. With ``--pictures FOLDER`` it leaves pictures
of some pages there.
"""

from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra 'browser'")
wait = pytest.importorskip("selenium.webdriver.support.wait", reason="needs the extra 'browser'")

PATIENCE_S = 30
WIDTHS = (1280, 390)
PICTURED = ("index", "cookbook", "coming_from", "api/torch")

# What sticks out of the window, or is cut, or scrolls sideways: programs and tables may scroll.
CLIPPED = """
const width = document.documentElement.clientWidth;
const seen = [...document.querySelectorAll("main, main *, header, header *")].filter(one =>
    one.clientWidth > 1 && !one.closest("pre, table, dialog, .visually-hidden, .ellipsis"));
return seen.filter(one => {
    const box = one.getBoundingClientRect(), overflow = getComputedStyle(one).overflowX;
    const holds = overflow == "visible" || one.scrollWidth <= one.clientWidth + 1;
    return box.right > width + 1 || box.left < -1 || !holds;
}).map(one => `${one.tagName}.${one.className}: ${one.textContent.trim().slice(0, 60)}`);
"""


@pytest.fixture(scope="module")
def folder(request):
    given = request.config.getoption("--site", default=None)
    if given is None:
        pytest.skip("needs the built documentation: --site FOLDER")
    return Path(given)


@pytest.fixture(scope="module")
def site(folder, serve):
    with serve(folder) as address:
        yield address


ASKED = "return performance.getEntriesByType('resource').map(one => one.name)"


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_asks_for_nothing_outside(folder, site, browser, width, request):
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    pictures = request.config.getoption("--pictures", default=None)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    assert len(names) > 50
    wrong = {}
    for name in names:
        browser.get(site + name)
        asked = browser.execute_script(ASKED)
        found = browser.execute_script(CLIPPED)
        found += [address for address in asked if not address.startswith((site, "data:"))]
        if browser.execute_script("return document.documentElement.scrollWidth") > width:
            found.append("it scrolls sideways")
        if found:
            wrong[name] = found
        page = name.removesuffix(".html")
        if pictures and page in PICTURED:
            browser.save_screenshot(f"{pictures}/{page.replace('/', '_')}_{width}.png")
    assert wrong == {}


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("speed", "performance"),
        ("normalized", "api/boxes"),
        ("center", "api/boxes"),
        ("uint8", "cookbook"),
        ("grayscale", "cookbook"),
        ("segmentation", "cookbook"),
        ("RoIAlign", "coming_from"),
        ("sampling_ratio", "conventions"),
        ("FPN", "conventions"),
        ("deformable", "conventions"),
        ("gradcheck", "torch"),
        ("half", "torch"),
        ("quantization", "auto_gallery/plot_2_quantisation"),
    ],
)
def test_search_finds_it_among_the_first(site, browser, word, page):
    browser.get(f"{site}search.html?q={word}")
    links = "#search-results ul.search li a"
    wait.WebDriverWait(browser, PATIENCE_S).until(
        lambda driver: "finished" in driver.find_element("id", "search-results").text
    )
    found = [
        link.get_attribute("href") for link in browser.find_elements("css selector", links)[:5]
    ]
    assert any(address.startswith(f"{site}{page}.html") for address in found), found
