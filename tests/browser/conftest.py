"""The options of the browser's tests, a server of files and a browser without a network."""

import contextlib
import functools
import http.server
import shutil
import threading

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--picture", metavar="PATH", help="write the dashboard's picture there")
    parser.addoption("--site", metavar="FOLDER", help="the documentation, built as HTML")
    parser.addoption("--pictures", metavar="FOLDER", help="write pictures of its pages there")


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> str | None:
    """Where to write the picture; None if it is not wanted."""
    return request.config.getoption("--picture", default=None)


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def serve():
    """A context that serves a folder and gives its address."""

    @contextlib.contextmanager
    def serving(folder):
        handler = functools.partial(_QuietHandler, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()
            thread.join()

    return serving


@pytest.fixture
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra 'browser'")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    offline = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    plain = ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,1000")
    for argument in (*plain, offline):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()
