"""The dashboard, opened in a browser: the site that asv makes of the results kept here.

Needs the extras ``bench`` and ``browser``, Chromium with its driver, and npm. The picture in the
documentation is made by this test: ``python -m pytest tests/browser --picture PATH``.
"""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("asv", reason="needs the extra 'bench'")
webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra 'browser'")
wait = pytest.importorskip("selenium.webdriver.support.wait", reason="needs the extra 'browser'")

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PATIENCE_S = 30

# What the page asks the network for -> where npm puts it.
SCRIPTS = {
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.min.js": "flot/jquery.flot.js",
    "jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
}
REFERENCE = re.compile(r'(src|href)="https://[^"]*/([^"/]+\.(?:js|css))"(?: integrity="[^"]*")?')


def commits():
    """The commits that there are results of."""
    return {json.loads(path.read_text())["commit_hash"] for path in RESULTS.glob("*/*-*.json")}


def test_results_are_small():
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    assert len(commits()) >= 8
    assert sum(path.stat().st_size for path in files) < 1 << 20


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Publish the dashboard, with the scripts beside it, and serve it; gives its address."""
    for program in ("git", "npm", "chromium", "chromedriver"):
        assert shutil.which(program), f"the test needs {program}"
    missing = commits() - _history()
    if missing:
        pytest.skip(f"the history here lacks {len(missing)} of the commits that were measured")
    folder = tmp_path_factory.mktemp("site")
    _run(sys.executable, "-m", "asv", "publish", "--no-pull", "--html-dir", str(folder))
    shutil.copy(Path(__file__).with_name("package.json"), folder)
    _run("npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    page = folder / "index.html"
    page.write_text(REFERENCE.sub(_local, page.read_text()))
    handler = functools.partial(_QuietHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def _local(match):
    return f'{match[1]}="node_modules/{SCRIPTS[match[2]]}"'


def _history():
    """The commits that asv places results by."""
    command = ["git", "rev-list", "--first-parent", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return set(done.stdout.split())


def _run(*command, cwd=ROOT):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1400,1000"):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()


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


def click(browser, heading, text):
    """Press a button of the graph's panel of that heading."""
    path = (
        f"//div[@id='graph-display']//div[contains(@class, 'panel')]"
        f"[div[contains(@class, 'panel-heading') and normalize-space()='{heading}']]"
        f"//a[normalize-space()='{text}']"
    )
    button = wait.WebDriverWait(browser, PATIENCE_S).until(
        lambda driver: next(iter(driver.find_elements("xpath", path)), None)
    )
    # Not by the mouse, which would stay there and bring up a hint over the graph.
    browser.execute_script("arguments[0].scrollIntoView(); arguments[0].click()", button)


def test_from_the_overview_to_the_history_of_a_benchmark(site, browser):
    browser.get(site)
    link = "a[href*='bench_instructions.Instructions.track_kernels']"
    wait.WebDriverWait(browser, PATIENCE_S).until(
        lambda driver: driver.find_elements("css selector", link)
    )
    browser.find_element("css selector", link).click()
    lines = dict(plotted(browser, lambda lines: len(lines) >= 2))
    counts = [count for _, count, *_ in sorted(lines["case-avg; variant-v3"])]
    assert len(counts) == len(lines["case-avg; variant-base"]) == len(commits())
    assert counts[-1] < counts[0]


def test_the_comparison_of_backends(site, browser, picture):
    browser.get(f"{site}#bench_forward.Forward.time_call")
    click(browser, "x-axis", "backend")
    ((_, points),) = plotted(browser, lambda lines: len(lines) == 1)
    seconds = {name: value for name, value, *_ in points}
    assert {"cpu[base]", "cpu[v3]", "onnxruntime", "openvino"} <= seconds.keys()
    assert all(value > 0 for value in seconds.values())
    if picture is not None:
        browser.save_screenshot(picture)
