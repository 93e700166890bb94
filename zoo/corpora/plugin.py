"""Hands the built-in corpora over to the zoo."""

from zoo.corpora.python_stdlib import PythonStdlib
from zoo.corpora.shakespeare import Shakespeare
from zoo.corpus import Corpus
from zoo.plugin.hookspecs import hookimpl


@hookimpl
def zoo_corpora() -> dict[str, type[Corpus]]:
    """The built-in corpora, by name."""
    return {"python-stdlib": PythonStdlib, "shakespeare": Shakespeare}
