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


@pytest.fixture(scope="session")
def parquet(tmp_path_factory):
    """The bytes of a small Parquet dataset."""
    import pyarrow
    from pyarrow import parquet as written

    rows = [{"id": str(n), "instruction": f"i{n}", "response": f"r{n}", "metadata": {"seed": n}} for n in range(40)]
    path = tmp_path_factory.mktemp("parquet") / "train.parquet"
    written.write_table(pyarrow.Table.from_pylist(rows), path)
    return path.read_bytes()
