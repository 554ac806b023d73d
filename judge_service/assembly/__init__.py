"""Builds the parts of a judge service from settings: stacks around judges, graders, and a monitor."""

from judge_service.assembly.canary_calls import canaries_beside
from judge_service.assembly.graders import Graders, open_graders
from judge_service.assembly.parts import Parts, open_parts
from judge_service.assembly.patient import patient
from judge_service.assembly.stacks import GEOGRAPHIES, Assembly, assemble_each, merged

__all__ = [
    "GEOGRAPHIES",
    "Assembly",
    "Graders",
    "Parts",
    "assemble_each",
    "canaries_beside",
    "merged",
    "open_graders",
    "open_parts",
    "patient",
]
