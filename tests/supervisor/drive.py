"""A supervisor process with the fake worker: `drive.py RUN UNTIL`; everything else is the real thing."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from engine.protocol.errors import SluiceError
from engine.protocol.events import Stage
from engine.protocol.runs import RunFolder
from engine.supervise import supervise
from engine.supervisor import story

FAKE = Path(__file__).parent / "fake_worker.py"


def fake_worker(run: RunFolder, stage: Stage) -> Sequence[str]:
    return (sys.executable, str(FAKE), str(run.path), stage)


if __name__ == "__main__":
    grace_s = float(os.environ.get("TEST_GRACE_S", "30"))
    story.OWNER_BEAT_S = float(os.environ.get("TEST_BEAT_S", story.OWNER_BEAT_S))
    try:
        sys.exit(
            supervise(RunFolder(Path(sys.argv[1])), cast(Stage, sys.argv[2]), worker_command=fake_worker, orphan_grace_s=grace_s)
        )
    except SluiceError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_status)
