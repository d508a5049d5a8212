"""The blinded review of a run: the responses it is about, from the records of both arms, and its standing. Nothing is decoded or scored.

It refuses a sample that shrinks, as that would let a reviewer drop what they did not like.
"""

from collections.abc import Iterator

from engine.core.review import Response, review_sample, task_of, validate
from engine.protocol.errors import InputError
from engine.protocol.review import ReviewLog, ReviewSheet, Validation, read_review
from engine.protocol.runs import RunFolder
from engine.report.run_records import RunRecords, read_run


def review_sheet(run: RunFolder, size: int | None = None) -> ReviewSheet:
    """The sampled responses of `run` and how their review stands; it writes nothing.

    Without `size` the sample is as large as it was, or `verdict.review_items` where no answer was given yet.

    Raises:
        InputError: an arm is not complete, a file is damaged, or `size` is smaller than the sample.
    """
    records, log = read_run(run), read_review(run.review)
    wanted = size or log.responses or records.config.verdict.review_items
    if log.responses is not None and wanted < log.responses:
        raise InputError(f"{run.review}: {log.responses} responses are sampled already, and a sample does not shrink to {wanted}")
    seed = records.config.run.seed
    sample = review_sample(responses(records), wanted, seed)
    tasks = tuple(task_of(response, seed) for response in sample)
    keys = {task.key for task in tasks}
    return ReviewSheet(
        run=run.run_id,
        tasks=tasks,
        labels={key: answer.label for key, answer in log.answers.items() if key in keys},
        validation=_validated(records, sample, log),
    )


def validation_of(run: RunFolder, records: RunRecords) -> Validation:
    """How the review of `run` stands.

    Raises:
        InputError: review.jsonl is damaged.
    """
    log = read_review(run.review)
    sample = review_sample(responses(records), log.responses, records.config.run.seed) if log.responses else ()
    return _validated(records, sample, log)


def _validated(records: RunRecords, sample: tuple[Response, ...], log: ReviewLog) -> Validation:
    table = records.config.verdict
    return validate(
        sample,
        log,
        seed=records.config.run.seed,
        min_kappa=table.min_kappa,
        min_responses=table.review_items,
        confidence_level=table.confidence_level,
    )


def responses(records: RunRecords) -> list[Response]:
    """Every response of both arms that was scored."""
    return list(_responses(records))


def _responses(records: RunRecords) -> Iterator[Response]:
    items = {item.id: item for item in records.items}
    for arm, of_arm in (("base", records.base), ("sft", records.sft)):
        for record in of_arm.records:
            if record.success is None or record.id not in items:
                continue
            told = sorted(record.checks, key=lambda check: check.success is not False)
            yield Response(
                item=items[record.id],
                arm=arm,
                text=record.text,
                success=record.success,
                reason=told[0].reason if told else "",
            )
