"""The files of a new distribution, from templates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING

from zoo.errors import UsageError
from zoo.plugin.kinds import Kind
from zoo.plugin.registry import HOST
from zoo.scaffold.names import class_of, package_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from jinja2 import Environment


@dataclass(frozen=True)
class Files:
    """The files of a distribution with one member.

    Attributes:
        texts: by path within the folder of the distribution.
        member: the path of the member's class.
        check: the command that asks the laws of the member.
        use: the command that trains with it.
    """

    texts: Mapping[str, str]
    member: str
    check: str
    use: str


def render(name: str, kind: Kind) -> Files:
    """The files of a distribution whose member is an example of its kind, to be replaced.

    Args:
        name: of the member and the distribution.
        kind: of the member. Its template, ``templates/members/KIND.py.j2``, is the class, and sets ``use``.

    Raises:
        UsageError: the kind has no template.
    """
    environment, package, module = _environment(), package_of(name), package_of(kind.name)
    path, check = f"src/{package}/{module}.py", f"zoo check {kind.name}:{name} --strict"
    values = {
        "name": name,
        "kind": kind,
        "package": package,
        "module": module,
        "class_name": class_of(name),
        "libraries": sorted({"zoo", kind.base_name.partition(".")[0]}),
        "host_version": version(HOST),
        "member_file": path,
        "check": check,
    }
    member = environment.get_template(_member_template(kind)).make_module(values)
    use = str(member.use)  # type: ignore[attr-defined]
    texts = {file: environment.get_template(source).render(values, use=use) for file, source in _templates(package)}
    return Files({**texts, path: str(member)}, path, check, use)


def _member_template(kind: Kind) -> str:
    name = f"members/{kind.name}.py"
    if not _source(name).is_file():
        raise UsageError(f"there is no template for {kind.plural}")
    return name


def _templates(package: str) -> Iterator[tuple[str, str]]:
    """The path of each file but the member's, and the name of its template."""
    yield "pyproject.toml", "pyproject.toml"
    yield "README.md", "README.md"
    yield ".gitignore", "gitignore"
    yield ".github/workflows/test.yml", "workflow.yml"
    yield f"src/{package}/__init__.py", "package.py"
    yield f"src/{package}/plugin.py", "plugin.py"
    yield "tests/test_laws.py", "test_laws.py"


def _environment() -> "Environment":
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True, loader=FunctionLoader(_read)
    )


def _read(name: str) -> str:
    return _source(name).read_text(encoding="utf-8")


def _source(name: str) -> "Traversable":
    return resources.files("zoo.scaffold") / "templates" / f"{name}.j2"
