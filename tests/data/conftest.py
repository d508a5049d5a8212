import pytest

from tests.data.dataset import Dataset


@pytest.fixture
def demo(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_WORKSPACE", str(tmp_path))
    return Dataset(tmp_path)
