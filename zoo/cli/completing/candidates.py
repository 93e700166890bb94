"""What may stand in each place of the command line."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from zoo.cli.completing.candidate import Candidate, Source, make_candidate
from zoo.cli.completing.line import Place
from zoo.cli.completing.paths import files, folders, kept_in
from zoo.plugin.listing import Listing

_NAME = re.compile(r"[\w:.-]*$")
_OPEN_CALL = re.compile(r"([\w:.-]+)(?:@[\w-]+)?\s*\(([^()]*(?:\([^()]*\)[^()]*)*)$")
"""A call whose bracket is open, and what follows that bracket."""


def complete(place: Place, listing: Listing) -> list[Candidate]:
    """The candidates for a place, without those that begin otherwise than what was typed."""
    if place.parameter is not None:
        found = _find_source(place)(place.value, place, listing)
    elif place.value.startswith("-") or "commands" not in place.command:
        found = _flags(place)
    else:
        commands = place.command["commands"].items()
        found = (make_candidate(name, of["help"]) for name, of in commands if " " not in name)
    by_text = {each.text: each for each in found if each.text.startswith(place.value)}
    return list(by_text.values())


def _flags(place: Place) -> Iterator[Candidate]:
    for parameter in place.command["parameters"]:
        long = [flag for flag in parameter["flags"] if flag.startswith("--") or flag == place.value]
        yield from (make_candidate(flag, parameter["help"]) for flag in long)


# What follows makes sources.


def _words(*names: str) -> Source:
    return lambda *_: map(make_candidate, names)


def _remembered(*names: str) -> Source:
    """Words that were remembered under these names, e.g. presets."""

    def source(_value: str, _place: Place, listing: Listing) -> Iterator[Candidate]:
        for name in names:
            yield from (make_candidate(word, meaning) for word, meaning in listing.words.get(name, {}).items())

    return source


def _several(*sources: Source) -> Source:
    return lambda *given: (candidate for source in sources for candidate in source(*given))


def _first(source: Source) -> Source:
    """What may stand as the first value of its parameter only."""

    def first(value: str, place: Place, listing: Listing) -> Iterable[Candidate]:
        given = place.parameter is not None and place.parameter["name"] in place.given
        return () if given else source(value, place, listing)

    return first


def _list_of(source: Source) -> Source:
    """A list with commas, each part of which is of the source."""

    def listed(value: str, place: Place, listing: Listing) -> Iterator[Candidate]:
        stem = value[: value.rfind(",") + 1]
        stem += " " * (len(value[len(stem) :]) - len(value[len(stem) :].lstrip()))
        given = {part.strip() for part in stem.split(",")}
        for each in source(value[len(stem) :], place, listing):
            if each.text not in given and not (stem and each.text == "none"):
                yield Candidate(stem + each.text, each.shown, each.help, each.ends)

    return listed


def _calls(*kinds: str) -> Source:
    """Members of kinds, with their options in brackets."""

    def source(value: str, _place: Place, listing: Listing) -> Iterator[Candidate]:
        if "(" in value:
            yield from _options(value, kinds, listing)
            return
        for kind in kinds:
            yield from (make_candidate(name, text) for name, text in listing.members.get(kind, {}).items())

    return source


def _options(value: str, kinds: Sequence[str], listing: Listing) -> Iterator[Candidate]:
    """The names of options, behind a bracket that is open or a comma in it."""
    call = _OPEN_CALL.search(value)
    if call is None or not re.fullmatch(r"\s*[\w-]*", call[2].rpartition(",")[2]):
        return
    typed = re.search(r"[\w-]*$", value)
    stem, given = value[: typed.start() if typed else None], re.findall(r"([\w-]+)\s*=", call[2])
    for kind in kinds:
        for option in listing.options.get(kind, {}).get(call[1], ()):
            if option not in given:
                yield make_candidate(f"{option}=", stem=stem, ends=False)


def _pattern(value: str, place: Place, listing: Listing) -> Iterator[Candidate]:
    """Mixers, also behind ``, + (``; channel mixers, too, behind a ``/``; options; hybrids, which stand alone."""
    if value.startswith((".", "/", "~")):
        yield from files(".py")(value, place, listing)
        return
    if _OPEN_CALL.search(value):
        yield from _options(value, ("mixer", "channel-mixer", "hybrid"), listing)
        return
    typed = _NAME.search(value)
    stem = value[: typed.start() if typed else None]
    before = stem.rstrip()[-1:]
    kinds = {
        "": ("mixer", "hybrid"),
        "/": ("channel-mixer", "mixer"),
        ",": ("mixer",),
        "+": ("mixer",),
        "(": ("mixer",),
    }
    for kind in kinds.get(before, ()):
        yield from (make_candidate(name, text, stem=stem) for name, text in listing.members.get(kind, {}).items())


def _member(value: str, place: Place, listing: Listing) -> Iterator[Candidate]:
    """A member of any kind, as ``name`` or ``kind:name``."""
    prefix, colon, _ = value.partition(":")
    if colon and prefix in listing.members:
        inner = _calls(prefix)(value[len(prefix) + 1 :], place, listing)
        yield from (Candidate(f"{prefix}:{each.text}", each.shown, each.help, each.ends) for each in inner)
        return
    yield from _calls(*listing.members)(value, place, listing)
    if value:  # kinds are of use to whoever begins to type one
        yield from (make_candidate(f"{kind}:", f"members of the kind {kind}", ends=False) for kind in listing.members)


def _laws(_value: str, place: Place, listing: Listing) -> Iterator[Candidate]:
    """The laws of the member that was named, or all of them."""
    member = next(iter(place.given.get("member", [])), "").partition("(")[0]
    prefix, _, name = member.rpartition(":")
    having = [prefix] if prefix in listing.members else [k for k, of in listing.members.items() if name in of]
    laws = listing.words.get("laws", {})
    for law, meaning in laws.items():
        kind, _, law_id = law.partition(":")
        if kind in (having or listing.members):
            yield make_candidate(law_id, meaning)


def _settings(value: str, place: Place, listing: Listing) -> Iterator[Candidate]:
    """``name=``, and behind it a value, as of the flag of that name."""
    name, equals, typed = value.partition("=")
    if not equals:
        known = listing.words.get("settings", {})
        yield from (make_candidate(f"{setting}=", text, ends=False) for setting, text in known.items())
        return
    source = _SOURCES.get(name, _remembered(f"setting {name}"))
    for each in source(typed, place, listing):
        yield Candidate(f"{name}={each.text}", each.shown, each.help, each.ends)


_RUNS = partial(kept_in, "runs", "config.json")
_TEXT = _several(_calls("corpus"), files())
_DATA = _several(_calls("task", "corpus"), files())
_NOTHING: Source = _words()

_SOURCES: Mapping[str, Source] = {
    "mixer": _pattern,
    "patterns": _pattern,
    "pattern": _pattern,
    "channel_mixer": _calls("channel-mixer", "mixer"),
    "residual": _calls("residual"),
    "optimizer": _calls("optimizer"),
    "tokenizer": _several(_calls("tokenizer"), files(".json")),
    "data": _DATA,
    "on": _calls("executor"),
    "report": _list_of(_several(_calls("reporter"), _words("none"))),
    "to": _list_of(_calls("reporter")),
    "run": _RUNS,
    "runs": _RUNS,
    "resume": _RUNS,
    "member": _several(_member, files(".py")),
    "only": _laws,
    "skip": _laws,
    "assignments": _settings,
    "preset": _remembered("presets"),
    "documents": _remembered("setting documents"),
    "objective": _words("next-token", "masked"),
    "precision": _remembered("setting precision"),
    "device": _words("auto", "cpu", "cuda", "mps"),
    "kind": _remembered("kinds"),
    "config": files(".toml", ".json"),
    "plugin": files(".py"),
    "tier": _remembered("tiers"),
    "match": _remembered("match"),
    "budget": lambda *_: (make_candidate(f"{unit}:", ends=False) for unit in ("steps", "seconds", "flops")),
    "gpu": _remembered("gpus"),
    "x": _remembered("x"),
    "y": _remembered("y"),
    "directory": folders,
}
"""By the name of the parameter; the same name means the same in every command, those of plugins included."""

_SOURCES_OF_COMMANDS: Mapping[str, Source] = {
    "info.name": _several(_member, _remembered("presets")),
    "check.member": _several(_pattern, _member),
    "list.glob": _NOTHING,
    "list.kind": _several(_remembered("kinds"), _words("all")),
    "tasks.name": _calls("task", "corpus"),
    "tasks.suite": _remembered("suites"),
    "data.path": _TEXT,
    "generate.prompts": files(".txt", ".jsonl"),
    "generate.precision": _words("fp32", "bf16"),
    "inspect.data": files(),
    "eval.data": _DATA,
    "compare.data": _several(_remembered("suites"), _DATA),
    "compare.resume": partial(kept_in, "comparisons", "comparison.json"),
    "runs.what": _several(_first(_words("rm")), _RUNS),
    "runs.sort": _remembered("sort"),
    "bench.patterns": _several(_first(_words("model")), _pattern),
    "bench.kinds": _list_of(_remembered("costs")),
    "bench model.kinds": _list_of(_remembered("costs of models")),
    "new-plugin.name": _NOTHING,
    "completion.shell": _words("bash", "zsh", "fish"),
}
"""Where a parameter of one command means something else, by ``command.parameter``."""


def _find_source(place: Place) -> Source:
    assert place.parameter is not None
    name = place.parameter["name"]
    default = files() if place.parameter["is_path"] else _NOTHING
    source = _SOURCES_OF_COMMANDS.get(".".join([*place.path, name])) or _SOURCES.get(name, default)
    return _quietly(source)


def _quietly(source: Source) -> Source:
    """What the source has until a folder cannot be read."""

    def found(*given: object) -> Iterator[Candidate]:
        try:
            yield from source(*given)  # type: ignore[arg-type]
        except OSError:
            return

    return found
