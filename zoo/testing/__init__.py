"""The laws that every member of a kind keeps, and the ways to ask them of one."""

from zoo.testing.check import check_member, check_mixer
from zoo.testing.checker import LawResult
from zoo.testing.law import Law
from zoo.testing.laws import LAWS
from zoo.testing.parametrize import parametrize_with_laws

__all__ = ["LAWS", "Law", "LawResult", "check_member", "check_mixer", "parametrize_with_laws"]
