"""From settings and a rubric to what `service` runs: stacks around judges, and graders that ask them."""

from judge_service.assembly.graders import Graders, open_graders
from judge_service.assembly.stacks import GEOGRAPHIES, Assembly, assemble_each, merged

__all__ = ["GEOGRAPHIES", "Assembly", "Graders", "assemble_each", "merged", "open_graders"]
