"""How commands look: arguments as they are written, and options in groups, on a terminal and elsewhere."""

from __future__ import annotations

from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperOption

SUBJECT, COMPUTING, OUTPUT, OTHER = "What is evaluated", "How it is computed", "Where it goes", "Options"
_OPTIONS = {
    SUBJECT: "method suite prompts prompt_column samples limit seed settings metrics dtype images layout allow_lossy "
    "reference reference_network until thresholds max_prompts detect baseline common objective data "
    "caption_column reward replicates protocol study votes",
    COMPUTING: "device engine workers address gpus_per_worker shard batch_size compile_networks fuse_lora resume "
    "plugin seeds verify",
    OUTPUT: "name results out as_json junit summary dry_run quiet verbose gallery markdown track",
}
_GROUPS = {name: group for group, names in _OPTIONS.items() for name in names.split()}
MANY = 10
"""Options of a command from which on its help has groups."""


class Argument(TyperArgument):
    """An argument whose help shows its metavar as it is: typer adds braces, brackets and the Python type to it."""

    def get_usage_pieces(self, ctx: Any) -> list[str]:
        return [self.display_name_raw]

    def display_type_rich(self, ctx: Any) -> str | None:
        return None


class Command(TyperCommand):
    """A command with such arguments, whose many options are listed in groups."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        many = sum(isinstance(parameter, TyperOption) for parameter in self.params) >= MANY
        for parameter in self.params:
            if isinstance(parameter, TyperArgument):
                parameter.__class__ = Argument  # typer has no hook for the class that it makes arguments of
            elif isinstance(parameter, TyperOption) and many and parameter.name in _GROUPS:
                parameter.rich_help_panel = _GROUPS[parameter.name]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The groups of plain help: those that a terminal draws as panels."""
        sections: dict[str, list[tuple[str, str]]] = {
            "Arguments": [],
            SUBJECT: [],
            COMPUTING: [],
            OUTPUT: [],
            OTHER: [],
        }
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            panel = getattr(parameter, "rich_help_panel", None)
            is_argument = parameter.param_type_name == "argument"
            sections["Arguments" if is_argument else panel if panel in sections else OTHER].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
