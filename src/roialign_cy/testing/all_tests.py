"""All tests of the kit, for a test module of a plugin's: ``from ...all_tests import *``."""

from .test_calls import *
from .test_conformance import *
from .test_document import *
