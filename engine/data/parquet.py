"""Rows of a Parquet file in batches, with the file's sha256. It reads the wanted columns only and refuses to load the file whole."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.data.lines import Progress, changed, no_progress, sha256_of
from engine.protocol.errors import InputError

BATCH_ROWS = 1024
_MAGIC = b"PAR1"


def is_parquet(path: Path) -> bool:
    """True for a file named .parquet, in whatever case, or one that begins as Parquet files do; False too where it cannot be read."""
    if path.suffix.lower() == ".parquet":
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


class ParquetRows:
    """The rows of `path` as dictionaries of the `wanted` columns that exist; missing values are left out."""

    def __init__(self, path: Path, wanted: Sequence[str], progress: Progress = no_progress) -> None:
        self.path, self._wanted, self._progress = path, wanted, progress
        self.sha256 = ""

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(row number from 1, row). Raises: InputError where the file is no Parquet file or changes while it is read."""
        import pyarrow
        from pyarrow import parquet

        before = sha256_of(self.path)
        number, size_bytes = 0, self.path.stat().st_size
        try:
            with parquet.ParquetFile(self.path) as file:
                columns = [name for name in file.schema_arrow.names if name in self._wanted]
                rows = max(1, file.metadata.num_rows)
                for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, {key: value for key, value in row.items() if value is not None}
                    self._progress(size_bytes * number // rows, size_bytes)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
        if sha256_of(self.path) != before:
            raise changed(self.path)
        self.sha256 = before
