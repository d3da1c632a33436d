import pytest


@pytest.fixture(scope="session", autouse=True)
def remote_modules(tmp_path_factory):
    """Code that transformers copies out of exported directories stays out of the user's cache."""
    try:
        import transformers.dynamic_module_utils as modules
    except ImportError:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        yield
