"""The registry, with plugins that exist only here."""

import inspect
import sys
import threading
from contextvars import copy_context
from importlib.metadata import EntryPoint
from types import ModuleType

import numpy as np
import pytest

import roialign_cy as ra
from roialign_cy._spec import make_spec
from roialign_cy.backends import _protocol, _registry
from roialign_cy.testing import goldens
from tests.fresh_process import run

GROUP = "roialign_cy.backends"
BUILT_IN = ("cpu", "reference")


class Fake:
    """A complete backend whose every output value is ``answer``: that tells who ran."""

    api_version = ra.backends.API_VERSION
    array_types = ("numpy:ndarray",)

    def __init__(self, name, answer=0):
        self.name = name
        self.answer = answer

    def unavailable_reason(self):
        return None

    def cannot_run(self, spec, operation):
        return None

    def roi_align(self, maps, rois, levels, spec, out):
        out[...] = self.answer
        return out

    def feature_gradient(self, *arguments):
        raise NotImplementedError

    def box_gradient(self, *arguments):
        raise NotImplementedError


class Loopback(Fake):
    """Hands every call to the CPU and keeps what it was given."""

    def __init__(self, name="loopback"):
        super().__init__(name)
        self.calls = []

    def roi_align(self, *arguments):
        self.calls.append(arguments)
        return ra.backends.get("cpu").roi_align(*arguments)


def forget():
    for function in _registry._entry_points, _registry._load_entry_point, _registry._resolve:
        function.cache_clear()


@pytest.fixture
def installed(monkeypatch):
    """The entry points of the installed plugins: none, until a test adds some."""
    points = []
    monkeypatch.setattr(
        _registry, "entry_points", lambda group: [point for point in points if point.group == group]
    )
    return points


@pytest.fixture(autouse=True)
def _own_registry(installed, monkeypatch):
    """No plugin, nothing named, and what a test registers is gone after it."""
    monkeypatch.setattr(_registry, "_registered", {})
    monkeypatch.delenv("ROIALIGN_BACKEND", raising=False)
    forget()
    yield
    forget()


@pytest.fixture
def install(installed, monkeypatch):
    """Install ``backend`` as a plugin announced under ``name``."""

    def install(name, backend):
        module = ModuleType(f"fake_plugin_{name}")
        module.BACKEND = backend
        monkeypatch.setitem(sys.modules, module.__name__, module)
        installed.append(EntryPoint(name, f"{module.__name__}:BACKEND", GROUP))

    return install


@pytest.fixture
def install_source(installed, monkeypatch, tmp_path):
    """Install a plugin from the source of its module, and return that module's name."""

    def install(source):
        (tmp_path / "fake_plugin.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        # So that it is gone from there after the test.
        monkeypatch.setitem(sys.modules, "fake_plugin", None)
        monkeypatch.delitem(sys.modules, "fake_plugin")
        installed.append(EntryPoint("plugin", "fake_plugin:BACKEND", GROUP))
        return "fake_plugin"

    return install


def answer(features=None, **options):
    """The one number that comes out of a call on ones."""
    if features is None:
        features = np.ones((1, 1, 3, 3))
    return ra.roi_align(features, [[0, 0, 0, 2, 2]], 1, **options).item()


class Maps:
    """As much of an array of another library as ours looks at."""

    ndim, shape, dtype = 4, (2, 3, 4, 5), np.dtype(np.float32)

    def transpose(self, *axes):
        turned = type(self)()
        turned.shape = tuple(self.shape[axis] for axis in axes)
        return turned


def cupy_array():
    return type("ndarray", (Maps,), {"__module__": "cupy"})()


# Names


def test_built_in_backends_come_first_and_plugins_in_the_order_of_their_names(install):
    install("zebra", Fake("zebra"))
    install("ant", Fake("ant"))
    ra.backends.register(Fake("newt"))
    assert ra.backends.names() == (*BUILT_IN, "ant", "gpu", "newt", "zebra")
    assert ra.backends.names() == ra.backends.names()


def test_available_backends_are_those_without_a_reason(install):
    install("good", Fake("good"))
    install("bad", Fake("misnamed"))
    assert ra.backends.available() == (*BUILT_IN, "good")


def test_installing_a_plugin_does_not_change_what_runs(install):
    install("gpu", Fake("gpu", answer=7))
    install("another", Fake("another", answer=8))
    assert answer() == 1


def test_distribution_announces_its_backend_by_entry_point(monkeypatch, tmp_path):
    monkeypatch.undo()  # the real discovery
    info = tmp_path / "fake_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nfound = nowhere:BACKEND\n")
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    assert "found" in ra.backends.names()


def test_plugin_is_imported_when_it_is_first_asked_for(install_source):
    module = install_source("raise RuntimeError('imported')")
    assert "plugin" in ra.backends.names()
    assert answer() == 1
    assert module not in sys.modules
    with pytest.raises(ra.BackendUnavailableError, match="imported"):
        ra.backends.get("plugin")


def test_plugin_may_announce_its_class(install):
    class Plugin(Fake):
        def __init__(self):
            super().__init__("plugin", answer=5)

    install("plugin", Plugin)
    assert answer(backend="plugin") == 5


def test_plugin_cannot_take_a_built_in_name(install):
    install("cpu", Fake("cpu", answer=7))
    assert answer(backend="cpu") == answer() == 1
    assert ra.backends.names() == (*BUILT_IN, "gpu")


@pytest.mark.parametrize("name", BUILT_IN)
def test_registering_a_built_in_name_is_refused(name):
    with pytest.raises(ValueError, match=f"built-in name '{name}'"):
        ra.backends.register(Fake(name))


def test_registering_the_same_name_again_takes_its_place():
    ra.backends.register(Fake("mine", answer=3))
    assert answer(backend="mine") == 3
    ra.backends.register(Fake("mine", answer=4))
    assert answer(backend="mine") == 4


@pytest.mark.parametrize("nameless", [object(), Fake(None), Fake("")])
def test_registering_what_has_no_name_is_refused(nameless):
    with pytest.raises(TypeError, match="backend must have a name"):
        ra.backends.register(nameless)


# Unknown and unavailable


def use(name):
    with ra.backends.use(name):
        pass


def call(name):
    answer(backend=name)


ASK = pytest.mark.parametrize("ask", [ra.backends.get, use, call])


@ASK
def test_unknown_name_is_refused_with_the_known_ones_and_the_nearest(ask):
    with pytest.raises(ValueError, match=r"^backend must be one of .*'gpu'.*'refrence'") as error:
        ask("refrence")
    assert "'cpu', 'reference', 'gpu'" in str(error.value)
    assert str(error.value).endswith("did you mean 'reference'?")


def test_unknown_name_has_no_reason():
    with pytest.raises(ValueError, match="backend must be one of"):
        ra.backends.unavailable_reason("nonsense")


@pytest.mark.parametrize("name", [5, ["cpu"], b"cpu", object()])
@ASK
def test_name_that_is_no_string_is_refused(ask, name):
    with pytest.raises(TypeError, match="backend must be one of"):
        ask(name)


def test_unknown_name_in_the_environment_is_refused_by_the_name_of_the_variable(monkeypatch):
    monkeypatch.setenv("ROIALIGN_BACKEND", "refrence")
    with pytest.raises(ValueError, match=r"ROIALIGN_BACKEND must be .* did you mean 'reference'"):
        answer()


@ASK
def test_known_backend_that_is_not_installed_says_how_to_get_it(ask):
    assert "gpu" in ra.backends.names()
    assert "gpu" not in ra.backends.available()
    with pytest.raises(ra.BackendUnavailableError, match=r"'gpu'.* pip install \"\./gpu\[cuda12x"):
        ask("gpu")


def test_unavailable_is_a_runtime_error():
    assert issubclass(ra.BackendUnavailableError, RuntimeError)
    assert ra.BackendUnavailableError is ra.backends.BackendUnavailableError


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('driver too old')", "RuntimeError: driver too old"),
        ("import a_missing_dependency", "ModuleNotFoundError: .*a_missing_dependency"),
        ("BACKENDS = []", "AttributeError: .*BACKEND"),
        ("class BACKEND:\n  def __init__(self):\n    raise OSError('no chip')", "OSError: no chip"),
    ],
    ids=["raises", "missing dependency", "no such object", "class raises"],
)
def test_plugin_that_fails_to_import_raises_only_when_asked_for(install_source, source, reason):
    install_source(source)
    assert "plugin" in ra.backends.names()
    assert ra.backends.available() == BUILT_IN
    assert answer() == 1
    for _ in range(2):
        with pytest.raises(
            ra.BackendUnavailableError, match=f"'plugin'.*fake_plugin:BACKEND failed.*{reason}"
        ):
            answer(backend="plugin")


class Lacking(Fake):
    """A backend without some of the members."""

    def __init__(self, *missing):
        super().__init__("plugin")
        self.missing = missing

    def __getattribute__(self, member):
        if member in object.__getattribute__(self, "__dict__").get("missing", ()):
            raise AttributeError(member)
        return super().__getattribute__(member)


@pytest.mark.parametrize("member", _protocol.MEMBERS)
def test_half_registered_plugin_is_refused_by_the_member_it_lacks(install, member):
    install("plugin", Lacking(member))
    with pytest.raises(ra.BackendUnavailableError, match=f"'plugin'.*lacks {member}$"):
        answer(backend="plugin")


def test_every_missing_member_is_named():
    ra.backends.register(Lacking("roi_align", "cannot_run"))
    assert ra.backends.names() == (*BUILT_IN, "gpu", "plugin")
    assert ra.backends.available() == BUILT_IN
    with pytest.raises(ra.BackendUnavailableError, match="lacks cannot_run, roi_align"):
        ra.backends.get("plugin")


def test_plugin_whose_member_fails_is_unavailable():
    class Failing(Fake):
        @property
        def array_types(self):
            raise OSError("driver hung up")

    ra.backends.register(Failing("plugin"))
    assert ra.backends.available() == BUILT_IN
    with pytest.raises(ra.BackendUnavailableError, match=r"'plugin'.*OSError: driver hung up"):
        answer(backend="plugin")


def test_plugin_of_another_api_version_is_refused_by_both_versions(install):
    plugin = Fake("plugin")
    plugin.api_version = 99
    install("plugin", plugin)
    with pytest.raises(
        ra.BackendUnavailableError,
        match=f"'plugin'.*api_version 99, this is {ra.backends.API_VERSION}",
    ):
        answer(backend="plugin")


def test_plugin_that_calls_itself_otherwise_is_refused_by_both_names(install):
    install("plugin", Fake("other"))
    with pytest.raises(ra.BackendUnavailableError, match=r"'plugin'.*calls itself 'other'"):
        answer(backend="plugin")


def test_reason_of_a_plugin_is_shown():
    plugin = Fake("plugin")
    plugin.unavailable_reason = lambda: "no device is plugged in"
    ra.backends.register(plugin)
    assert ra.backends.unavailable_reason("plugin") == "no device is plugged in"
    with pytest.raises(ra.BackendUnavailableError, match=r"'plugin'.*no device is plugged in"):
        answer(backend="plugin")


def test_plugin_that_fails_to_give_its_reason_is_unavailable():
    def fail():
        raise OSError("driver hung up")

    plugin = Fake("plugin")
    plugin.unavailable_reason = fail
    ra.backends.register(plugin)
    assert ra.backends.available() == BUILT_IN
    with pytest.raises(ra.BackendUnavailableError, match=r"'plugin'.*OSError: driver hung up"):
        answer(backend="plugin")


def test_built_in_backends_are_available():
    for name in BUILT_IN:
        assert ra.backends.unavailable_reason(name) is None
        assert ra.backends.get(name).name == name


# Which one runs


@pytest.fixture
def three():
    """Backends named "one", "two" and "three", which answer 1, 2 and 3 (the CPU answers 5)."""
    for number, name in enumerate(("one", "two", "three"), start=1):
        ra.backends.register(Fake(name, answer=number))
    return np.full((1, 1, 3, 3), 5.0)


def test_argument_goes_before_use_and_use_before_the_environment(three, monkeypatch):
    assert answer(three) == 5
    monkeypatch.setenv("ROIALIGN_BACKEND", "three")
    assert answer(three) == 3
    with ra.backends.use("two"):
        assert answer(three) == 2
        assert answer(three, backend="one") == 1
        assert answer(three) == 2
    assert answer(three) == 3


def test_empty_variable_names_no_backend(three, monkeypatch):
    monkeypatch.setenv("ROIALIGN_BACKEND", "")
    assert answer(three) == 5


def test_use_nests_and_restores(three):
    with ra.backends.use("one") as backend:
        assert backend is ra.backends.get("one")
        with ra.backends.use("two"):
            assert answer(three) == 2
        assert answer(three) == 1
    assert answer(three) == 5


def test_use_restores_after_an_exception(three):
    def fail():
        with ra.backends.use("one"), ra.backends.use("two"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert answer(three) == 5


@pytest.mark.parametrize("name", ["gpu", "nonsense"])
def test_use_of_a_backend_that_cannot_be_used_fails_at_once(three, name):
    with (
        ra.backends.use("one"),
        pytest.raises((ValueError, ra.BackendUnavailableError)),
        ra.backends.use(name),
    ):
        pytest.fail("the block was entered")
    assert answer(three) == 5


def test_use_is_of_its_own_thread(three):
    everyone_is_inside = threading.Barrier(3)
    answers = {}

    def work(name):
        with ra.backends.use(name):
            everyone_is_inside.wait(timeout=10)
            answers[name] = answer(three)
            everyone_is_inside.wait(timeout=10)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    everyone_is_inside.wait(timeout=10)
    answers["here"] = answer(three)
    everyone_is_inside.wait(timeout=10)
    for thread in threads:
        thread.join()
    assert answers == {"one": 1, "two": 2, "here": 5}


def test_use_travels_with_the_context(three):
    with ra.backends.use("one"):
        context = copy_context()
    assert answer(three) == 5
    assert context.run(answer, three) == 1


def test_backend_that_was_named_never_falls_back(three):
    unavailable, failing, unwilling = (Fake(name) for name in ("away", "failing", "unwilling"))
    unavailable.unavailable_reason = lambda: "not today"
    unwilling.cannot_run = lambda spec, operation: f"mode {spec.mode} is beyond it"

    def fail(*arguments):
        raise FloatingPointError("in the plugin")

    failing.roi_align = fail
    for plugin in unavailable, failing, unwilling:
        ra.backends.register(plugin)
    with pytest.raises(ra.BackendUnavailableError, match=r"'away'.*not today"):
        answer(three, backend="away")
    with pytest.raises(FloatingPointError, match="in the plugin"):
        answer(three, backend="failing")
    with pytest.raises(ra.BackendUnavailableError, match=r"'unwilling'.*mode max is beyond it"):
        answer(three, backend="unwilling")
    with (
        ra.backends.use("unwilling"),
        pytest.raises(ra.BackendUnavailableError, match="mode avg is beyond it"),
    ):
        answer(three, mode="avg")


def test_refused_call_writes_nothing():
    plugin = Fake("unwilling", answer=3)
    plugin.cannot_run = lambda spec, operation: "not this one"
    ra.backends.register(plugin)
    out = np.full((1, 1, 1, 1), 7.0)
    with pytest.raises(ra.BackendUnavailableError, match="not this one"):
        answer(backend="unwilling", out=out)
    assert out == 7


# Kinds of arrays


@pytest.mark.parametrize(
    "features", [None, 1.5, [[[[1.0]]]], np.float64(1), memoryview(b"1234"), object()], ids=repr
)
def test_features_that_are_no_array_are_refused_by_their_type(features):
    with pytest.raises(TypeError, match=f"features must be .*{type(features).__name__}"):
        ra.roi_align(features, [[0, 0, 0, 2, 2]], 1)
    with pytest.raises(TypeError, match=f"features.*{type(features).__name__}.*'reference'"):
        ra.roi_align(features, [[0, 0, 0, 2, 2]], 1, backend="reference")


def test_cupy_array_goes_to_the_gpu(install):
    with pytest.raises(ra.BackendUnavailableError, match=r"'gpu'.*pip install"):
        ra.roi_align(cupy_array(), [[0, 0, 0, 2, 2]], 1)

    gpu = Fake("gpu")
    gpu.array_types = ("cupy:ndarray",)
    gpu.roi_align = lambda *arguments: ("on the gpu", *arguments)
    install("gpu", gpu)
    forget()
    features, rois = cupy_array(), object()
    where, maps, got_rois, levels, spec, out = ra.roi_align(features, rois, (2, 3))
    assert where == "on the gpu"
    assert (maps, got_rois, levels, out) == ((features,), rois, None, None)
    assert spec.output_size == (2, 3)


def test_subclass_of_a_cupy_array_goes_to_the_gpu():
    subclass = type("Tensor", (type(cupy_array()),), {"__module__": "somewhere"})
    with pytest.raises(ra.BackendUnavailableError, match="'gpu'"):
        ra.roi_align(subclass(), [[0, 0, 0, 2, 2]], 1)


@pytest.mark.parametrize("name", BUILT_IN)
def test_cupy_array_is_refused_by_backends_of_numpy_arrays(name):
    with pytest.raises(TypeError, match=f"features of type cupy.ndarray .*'{name}'.*numpy:ndarray"):
        ra.roi_align(cupy_array(), [[0, 0, 0, 2, 2]], 1, backend=name)
    with ra.backends.use(name), pytest.raises(TypeError, match=r"features of type cupy.ndarray"):
        ra.roi_align(cupy_array(), [[0, 0, 0, 2, 2]], 1)


@pytest.fixture
def shop():
    """A class of arrays, and a backend that takes them and gives its arguments back."""
    plugin = Fake("plugin")
    plugin.array_types = ("shop:Tensor",)
    plugin.roi_align = lambda *arguments: arguments
    plugin.feature_gradient = lambda *arguments: (arguments,)
    plugin.box_gradient = lambda *arguments: arguments
    ra.backends.register(plugin)
    return type("Tensor", (Maps,), {"__module__": "shop.inner"})


def test_plugin_takes_the_arrays_it_names(shop):
    tensor = shop()
    (maps, *_) = ra.roi_align(tensor, [[0, 0, 0, 2, 2]], 1, backend="plugin")
    assert maps == (tensor,)
    with pytest.raises(TypeError, match=r"numpy.ndarray cannot go to backend 'plugin'"):
        answer(backend="plugin")


def test_arrays_of_a_plugin_are_turned_too(shop):
    options = {"backend": "plugin", "layout": "NHWC"}
    maps, rois, _, spec, _ = ra.roi_align(shop(), "boxes", 1, **options)
    assert (maps[0].shape, rois, spec.channels_last) == ((2, 5, 3, 4), "boxes", True)
    gradients = ra.roi_align_backward(
        shop(), "boxes", (1, 2, 3, 4), features=shop(), wrt=("rois", "features"), **options
    )
    (grads, _, _, (features,), *_), (_, _, _, shapes, _, same, _) = gradients
    assert grads.shape == features.shape == same[0].shape == (2, 5, 3, 4)
    assert shapes == ((1, 4, 2, 3),)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_all_arrays_of_a_call_are_of_one_kind(shop, layout):
    options = {"backend": "plugin", "layout": layout}
    other = np.ones((1, 1, 1, 1), np.float32)
    with pytest.raises(TypeError, match=r"^out must be a shop array, got numpy\.ndarray"):
        ra.roi_align(shop(), "boxes", 1, out=other, **options)
    for change in ({"features": other}, {"out": other}):
        with pytest.raises(TypeError, match=f"^{next(iter(change))} must be a shop array, got n"):
            ra.roi_align_backward(shop(), "boxes", (1, 2, 3, 4), mode="avg", **change, **options)


def test_dtype_and_axes_are_checked_for_every_plugin(shop):
    tensor = shop()
    tensor.dtype = np.dtype(np.int8)
    with pytest.raises(TypeError, match="features must be float16, float32 or float64, got int8"):
        ra.roi_align(tensor, "boxes", 1, backend="plugin")
    tensor = shop()
    tensor.ndim, tensor.shape = 3, (1, 2, 3)
    with pytest.raises(ValueError, match=r"features must have four axes \(NCHW\), got shape"):
        ra.roi_align(tensor, "boxes", 1, backend="plugin")


# What a backend is given


@pytest.mark.parametrize("case", goldens.conformance(), ids=lambda case: case.id)
def test_loopback_backend_passes_what_the_projects_expect(case):
    loopback = Loopback()
    ra.backends.register(loopback)
    output = ra.roi_align(case.features, case.rois, backend="loopback", **case.options)
    np.testing.assert_allclose(output, case.expected, rtol=0, atol=case.atol)
    assert len(loopback.calls) == 1


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", [">f2", ">f4", "<f8"])
def test_backend_receives_checked_arrays(layout, dtype):
    class Subclass(np.ndarray):
        pass

    loopback = Loopback()
    ra.backends.register(loopback)
    features = np.ones((2, 3, 4, 5), dtype).view(Subclass)
    ra.roi_align(features, [np.ones((2, 4), ">f4"), []], (6, 7), backend="loopback", layout=layout)
    ((got_features,), rois, levels, spec, out) = loopback.calls[0]
    assert levels is None
    assert type(got_features) is type(rois) is type(out) is np.ndarray
    assert np.shares_memory(got_features, features)
    assert got_features.dtype == dtype
    assert (rois.shape, rois.dtype) == ((2, 5), np.dtype(np.float32))
    assert rois.flags.aligned
    assert out.dtype == np.dtype(dtype).newbyteorder("=")
    is_last = layout == "NHWC"
    assert got_features.shape == ((2, 5, 3, 4) if is_last else (2, 3, 4, 5))
    assert out.shape == ((2, 5, 6, 7) if is_last else (2, 3, 6, 7))
    assert (out.transpose(0, 2, 3, 1) if is_last else out).flags.c_contiguous
    assert (spec.channels_last, spec.output_size) == (is_last, (6, 7))


def test_backend_receives_the_callers_out():
    loopback = Loopback()
    ra.backends.register(loopback)
    out = np.empty((1, 1, 1, 1))
    answer(backend="loopback", out=out)
    assert loopback.calls[0][-1] is out


# The protocol


def protocol_methods():
    return {
        name: member
        for name, member in vars(_protocol.Backend).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def test_listed_members_are_those_of_the_protocol():
    assert set(_protocol.MEMBERS) == {*_protocol.Backend.__annotations__, *protocol_methods()}
    assert len(_protocol.MEMBERS) == len(set(_protocol.MEMBERS))


def outline(method):
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(method).parameters.values()
        if parameter.name != "self"
    ]


@pytest.mark.parametrize("method", protocol_methods())
@pytest.mark.parametrize("name", BUILT_IN)
def test_methods_have_the_signatures_of_the_protocol(name, method):
    backend = ra.backends.get(name)
    assert outline(getattr(backend, method)) == outline(protocol_methods()[method])


def test_cpu_writes_to_no_read_only_array():
    features, rois = np.ones((1, 1, 6, 6), np.float32), np.array([[0, 1, 1, 4, 4.0]])
    spec = make_spec(2, "detectron2", 1.0, 2, None, "NCHW", 1)
    out, by_features = np.zeros((1, 1, 2, 2), np.float32), np.zeros((1, 1, 6, 6), np.float32)
    out.flags.writeable = by_features.flags.writeable = False
    cpu = ra.backends.get("cpu")
    with pytest.raises(ValueError, match="read-only"):
        cpu.roi_align((features,), rois, None, spec, out)
    with pytest.raises(ValueError, match="read-only"):
        cpu.feature_gradient(
            np.ones_like(out), rois, None, (features.shape,), spec, None, (by_features,)
        )
    assert not out.any()
    assert not by_features.any()


def test_cpu_refuses_boxes_that_are_no_array():
    code = """
        import numpy as np
        import roialign_cy as ra

        class Careless:
            name = "careless"

            def __getattr__(self, member):
                return getattr(ra.backends.get("cpu"), member)

            def roi_align(self, maps, rois, levels, spec, out):
                return ra.backends.get("cpu").roi_align(maps, rois.tolist(), levels, spec, out)

        ra.backends.register(Careless())
        try:
            ra.roi_align(np.ones((1, 1, 6, 6)), [[0, 1, 1, 4, 4]], 2, backend="careless")
        except TypeError:
            print("refused")
    """
    assert run(code) == ["refused"]
