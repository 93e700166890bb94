"""What there is to know of mixers, tasks and plugins, as plain data that a machine can read."""

from zoo.describe.mixers import describe_mixer, list_entries
from zoo.describe.parts import parse_doc
from zoo.describe.plugins import list_plugins
from zoo.describe.tasks import describe_data, is_glob, list_data

__all__ = ["describe_data", "describe_mixer", "is_glob", "list_data", "list_entries", "list_plugins", "parse_doc"]
