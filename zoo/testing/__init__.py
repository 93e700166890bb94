"""The laws that every mixer keeps, and the ways to ask them of a mixer."""

from zoo.testing.check import LawResult, check_mixer
from zoo.testing.law import Law
from zoo.testing.laws import LAWS
from zoo.testing.parametrize import parametrize_with_laws

__all__ = ["LAWS", "Law", "LawResult", "check_mixer", "parametrize_with_laws"]
