"""The command `models`: base models that are on this machine already. It refuses to download any."""

import os

import click
from rich.table import Table

from app.commands.output import console, inert, print_json
from engine.protocol.event_texts import gib
from engine.protocol.runs import workspace


@click.command()
@click.argument("names", nargs=-1, metavar="[MODEL]...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def models(names: tuple[str, ...], as_json: bool) -> None:
    """List the models in the workspace's models folder and in the local hub cache, with what is wrong with each; or look at MODEL."""
    from engine.data.model_list import hub_cache, list_models, look_at

    found = tuple(look_at(name) for name in names) if names else list_models(workspace())
    if as_json:
        print_json(found)
        return
    out = console()
    if not found:
        out.print(
            f"No models in {workspace() / 'models'} nor in {hub_cache(os.environ)}. Put one there (config.json, *.safetensors, "
            "tokenizer), or fetch one with `hf download ORG/NAME` where there is a network.", soft_wrap=True,
        )  # fmt: skip
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model.path", "size", "kind", "problem"):
        table.add_column(heading, justify="right" if heading == "size" else "left", no_wrap=heading in ("size", "kind"))
    for model in found:
        kind = f"instruct: {model.tuned}" if model.tuned else "base"
        table.add_row(inert(model.value), gib(model.size_bytes), inert(kind), inert(model.problems[0] if model.problems else ""))
    out.print(table)
