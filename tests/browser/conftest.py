"""The option of the browser's tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--picture", metavar="PATH", help="write the dashboard's picture there")


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> str | None:
    """Where to write the picture; None if it is not wanted."""
    return request.config.getoption("--picture", default=None)
