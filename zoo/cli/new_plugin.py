"""``zoo new-plugin``: a distribution to start from."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.output import print_json, print_lines


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the member, the distribution and its folder.")],
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="mixer, channel-mixer, residual, task, corpus, tokenizer, …")
    ] = "mixer",
    directory: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="The folder in which that of the distribution is made.")
    ] = Path(),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a distribution with one member of a kind, to start from.

    It has an entry point by which the zoo finds it, a small member that keeps all laws of its kind and is to be
    replaced, tests that ask them, and a workflow that runs the tests on GitHub. Nothing is ever overwritten.
    """
    from zoo.plugin.kinds import find_kind
    from zoo.plugin.registry import get_registry
    from zoo.scaffold.distribution import write_distribution
    from zoo.train.shell import quote

    chosen = find_kind(kind)
    written = write_distribution(name, chosen, directory, get_registry())
    folder, files = str(written.folder), written.files
    commands = {
        "install": f"cd {quote(folder)} && pip install -e '.[test]'",
        "test": "pytest",
        "check": files.check,
        "use": files.use,
    }
    if json:
        paths = sorted(files.texts)
        listed = {"folder": folder, "files": paths, "member": files.member, "next": list(commands.values())}
        print_json({"name": name, "kind": chosen.name, **listed})
        return
    print_lines({"folder": folder, "edit": str(written.folder / files.member)}, commands)
