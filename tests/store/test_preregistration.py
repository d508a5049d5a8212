"""What is frozen before the evaluation, and that it stays so."""

from pathlib import Path

import msgspec
import pytest

from engine.core.batching import plan_batches
from engine.protocol.config import Config, VerdictTable
from engine.protocol.errors import InputError
from engine.protocol.items import CheckSpec, HeldOutItem
from engine.protocol.prereg import differences, read_prereg
from engine.protocol.runs import RunFolder
from engine.store.arm_files import batch_of, write_batch
from engine.store.preregistration import freeze, preregister, read_frozen_items


def items(count: int = 4) -> list[HeldOutItem]:
    return [
        HeldOutItem(id=f"i{n}", types=("fact",), instruction=f"Do {n}.", checks=(CheckSpec(kind="words", arguments={"max": 3}),))
        for n in range(count)
    ]


def changed(table: str, **values: object) -> Config:
    config = Config()
    return msgspec.structs.replace(config, **{table: msgspec.structs.replace(getattr(config, table), **values)})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (changed("verdict", alpha=0.02), "verdict.alpha was 0.01 and is 0.02"),
        (changed("verdict", min_lift=0.01), "verdict.min_lift was 0.05 and is 0.01"),
        (changed("verdict", guarded=()), 'verdict.guarded was ["safety","format"] and is []'),
        (changed("verdict", margin=0.1), "verdict.margin was 0.05 and is 0.1"),
        (changed("verdict", max_unscored=0.5), "verdict.max_unscored was 0.01 and is 0.5"),
        (changed("eval", max_new_tokens=9), "decoding.max_new_tokens was 256 and is 9"),
        (changed("gates", max_runaway=0.9), "gates.max_runaway was 0.05 and is 0.9"),
        (changed("run", profile="external"), 'profile was "stage1" and is "external"'),
    ],
)
def test_every_setting_that_may_decide_is_frozen(config: Config, named: str) -> None:
    before, after = freeze(Config(), items(), "h"), freeze(config, items(), "h")
    assert before.hash != after.hash
    assert differences(before.frozen, after.frozen) == (named,)


def test_items_checks_file_and_scorer_are_frozen() -> None:
    before = freeze(Config(), items(), "h")
    other_check = [*items()[:3], msgspec.structs.replace(items()[3], checks=(CheckSpec(kind="words", arguments={"max": 4}),))]
    afters = [
        freeze(Config(), items()[:3], "h"),
        freeze(Config(), other_check, "h"),
        freeze(Config(), items(), "g"),
        freeze(Config(), items(), "h", scorer="other"),
    ]
    assert len({before.hash, *(after.hash for after in afters)}) == 5
    assert [len(differences(before.frozen, after.frozen)) for after in afters] == [2, 1, 1, 1]


def test_how_the_run_goes_about_it_is_not_frozen() -> None:
    assert freeze(changed("eval", batch_items=2), items(), "h") == freeze(Config(), items(), "h")


def test_it_is_written_once_and_the_same_again_changes_nothing(run: RunFolder) -> None:
    first = preregister(run, Config(), items(), "h")
    data = run.prereg.read_bytes(), (run.eval / "items.jsonl").read_bytes()
    assert preregister(run, Config(), items(), "h") == first == read_prereg(run.prereg)
    assert (run.prereg.read_bytes(), (run.eval / "items.jsonl").read_bytes()) == data
    assert read_frozen_items(run, first) == tuple(items())


def test_the_subset_is_what_is_frozen(run: RunFolder) -> None:
    prereg = preregister(run, changed("eval", subset=300), items(400), "h")
    assert len(prereg.frozen.item_ids) == len(read_frozen_items(run, prereg)) == 300


def test_once_answers_are_there_nothing_else_can_be_frozen(run: RunFolder) -> None:
    preregister(run, Config(), items(), "h")
    preregister(run, changed("verdict", alpha=0.02), items(), "h")
    batch, *_ = plan_batches({"i0": [1]}, 1).batches
    write_batch(run, "base", batch, batch_of("k", 0, ()))
    with pytest.raises(InputError, match=r"verdict.alpha was 0.02 and is 0.01"):
        preregister(run, Config(), items(), "h")
    preregister(run, changed("verdict", alpha=0.02), items(), "h")


@pytest.mark.parametrize(
    ("data", "named"), [(None, "is not there"), (b"{", "cannot be read"), (b'{"schema_version":9}', "reads version 1")]
)
def test_a_file_that_cannot_be_used_is_named(run: RunFolder, data: bytes | None, named: str) -> None:
    if data is not None:
        run.prereg.write_bytes(data)
    with pytest.raises(InputError, match=rf"prereg\.json.*{named}"):
        read_prereg(run.prereg)


def test_a_threshold_on_the_review_is_frozen_only_where_there_is_one() -> None:
    frozen = [freeze(Config(verdict=VerdictTable(min_kappa=kappa)), [], "0") for kappa in (0.0, 0.7)]
    assert "min_kappa" not in frozen[0].frozen.verdict and "review_items" not in frozen[0].frozen.verdict
    assert (frozen[1].frozen.verdict["min_kappa"], frozen[1].frozen.verdict["review_items"]) == (0.7, 50)
