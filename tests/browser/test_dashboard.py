"""The dashboard, opened in a browser that has no network.

Needs the extras ``bench`` and ``browser``, Chromium with its driver, and npm. The picture in the
documentation is made by this test: ``python -m pytest tests/browser --picture PATH``.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import history
from benchmarks.dashboard import page

pytest.importorskip("asv", reason="needs the extra 'bench'")
wait = pytest.importorskip("selenium.webdriver.support.wait", reason="needs the extra 'browser'")

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30
WIDTHS = (1280, 390)


def commits():
    """The commits that have been measured."""
    return {line["commit"] for line in history.read()}


@pytest.fixture(scope="module")
def site(tmp_path_factory, serve):
    """Make the dashboard and serve it; gives its address."""
    for program in ("git", "npm", "chromium", "chromedriver"):
        assert shutil.which(program), f"the test needs {program}"
    missing = commits() - _history()
    if missing:
        pytest.skip(f"the history here lacks {len(missing)} of the commits that were measured")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "benchmarks.dashboard", "--output", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with serve(folder) as address:
        yield address


def _history():
    """The commits that asv places results by."""
    command = ["git", "rev-list", "--first-parent", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_page_shows_every_operator(site, browser, width, picture):
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(site)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for case in page.OPERATORS:
        section = browser.find_element("id", case)
        graphs = section.find_elements("tag name", "svg")
        assert len(graphs) == 2
        assert all(graph.size["width"] > 300 for graph in graphs)
        assert len(graphs[0].find_elements("tag name", "circle")) == 2 * of_case(case)
    # Nothing of the page hides another part of it, and text can be read.
    assert float(browser.execute_script(SMALLEST_TEXT)) >= 9
    rows = browser.find_elements("css selector", "#backends tr")
    assert {"onnxruntime", "openvino", "torchvision"} <= set(rows[0].text.split())
    assert len(rows) > 5
    if picture is not None and width == WIDTHS[0]:
        browser.save_screenshot(picture)


def of_case(case):
    """Number of the commits in which a case was counted."""
    return sum(case in line["counts"] for line in history.read())


# Height of the smallest text of a graph, as it is drawn.
SMALLEST_TEXT = """
return Math.min(...[...document.querySelectorAll("svg text")].map(
    one => one.getBoundingClientRect().height));
"""


# What the page's plot holds: for each line its label and its points.
PLOTTED = """
const plot = $("#main-graph").data("plot");
return plot ? plot.getData().map(one => [one.label, one.data]) : null;
"""


def plotted(browser, holds):
    """Wait until the plot holds lines of which something is true, and give them."""

    def look(driver):
        lines = [
            (label, [point for point in points if point and point[1] is not None])
            for label, points in driver.execute_script(PLOTTED) or ()
        ]
        lines = [(label, points) for label, points in lines if points]
        return lines if lines and holds(lines) else None

    return wait.WebDriverWait(browser, PATIENCE_S).until(look)


def test_from_the_first_page_to_the_history_of_a_benchmark(site, browser):
    browser.get(site)
    browser.find_element("link text", "All benchmarks (asv)").click()
    link = "a[href*='history.track_instructions']"
    wait.WebDriverWait(browser, PATIENCE_S).until(
        lambda driver: driver.find_elements("css selector", link)
    )
    browser.find_element("css selector", link).click()
    lines = plotted(browser, lambda lines: len(lines) >= 2)
    (points,) = (points for label, points in lines if "case-avg" in label.split("; "))
    assert len(points) == of_case("avg")
