"""What there is to know of members, data and plugins, as plain data that a machine can read."""

from zoo.describe.members import describe_member, find_member, list_members
from zoo.describe.mixers import describe_mixer
from zoo.describe.parts import parse_doc
from zoo.describe.plugins import list_plugins
from zoo.describe.tasks import describe_data, is_glob, list_data

__all__ = [
    "describe_data",
    "describe_member",
    "describe_mixer",
    "find_member",
    "is_glob",
    "list_data",
    "list_members",
    "list_plugins",
    "parse_doc",
]
