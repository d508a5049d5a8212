"""What lists say of a run in words, for the panel and the command line alike. Pure."""

from app.figures import age
from engine.protocol.event_texts import gib
from engine.protocol.listing import Listed, utc_seconds
from engine.protocol.runs import name_in_id


def given_name(listed: Listed) -> str:
    """The name that a person gave it since, or an empty text."""
    name = listed.summary.name
    return "" if name == name_in_id(listed.run.run_id) else name


def what(listed: Listed, now_s: float) -> str:
    """One sentence on its state: whom it waits for, how much is loaded, what blocked or ended it, what goes on from there."""
    summary, detail = listed.summary, listed.summary.detail.partition("\n")[0]
    since_s = now_s - utc_seconds(summary.since) if summary.since else None
    match listed.state:
        case "queued":
            return f"behind {summary.behind or 'another run'}, for {age(since_s)}"
        case "loading" if summary.loaded_bytes is not None and summary.load_total_bytes:
            return f"model: {gib(summary.loaded_bytes)} of {gib(summary.load_total_bytes)}"
        case "loading" | "starting":
            return f"for {age(since_s)}"
        case "blocked":
            return f"by {detail}" if detail else "by its gates"
        case "silent":
            return f"no word from the worker for {age(now_s - utc_seconds(summary.heard_at))}"
        case "interrupted":
            return "no live supervisor; resume goes on from the last checkpoint"
        case "draft":
            return "never started; resume starts it"
        case "finished" if listed.partial:
            return f"done up to {summary.stage}, as asked; resume goes on to the verdict"
        case "running" if summary.stage == "train" and summary.step is not None and summary.steps:
            return f"step {summary.step} of {summary.steps}"
    return detail
