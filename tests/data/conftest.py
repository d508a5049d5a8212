import pytest

from tests.data.dataset import Dataset


@pytest.fixture
def demo(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path))
    return Dataset(tmp_path)


@pytest.fixture
def small(demo):
    """The first 160 records, declared as they are: quick to check often."""
    demo.shorten(160)
    return demo
