"""`contraflow config`: print the settings that some overrides give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contraflow.cli.command import Command, ParsedArguments
from contraflow.cli.commands._unused import print_warnings

if TYPE_CHECKING:
    from contraflow.settings import Config


def run(args: ParsedArguments) -> int:
    """Compose the settings and print them."""
    from contraflow.settings.compose import compose_config
    from contraflow.settings.unlikely import unlikely
    from contraflow.settings.unused import unused_keys

    config = compose_config(args.overrides, args.config_dir)
    print_warnings(unused_keys(args.overrides, config).values())
    print_warnings(unlikely(args.overrides, config))
    print(as_yaml(config), end="")
    return 0


def as_yaml(config: Config) -> str:
    """The settings as YAML: prompts as readable blocks, URLs without passwords."""
    import yaml  # type: ignore[import-untyped]

    from contraflow.settings import shown_settings

    class Dumper(yaml.SafeDumper):
        pass

    def represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, represent_text)
    settings = shown_settings(config)
    return str(yaml.dump(settings, Dumper=Dumper, sort_keys=False, allow_unicode=True))


COMMAND = Command(
    name="config",
    summary="print the settings that some overrides give",
    description="""
    Takes the same words as `contraflow train` and prints every key with its value, after all
    checks; nothing is loaded and nothing is written. The passwords of URLs are left out.
    """,
    examples=(
        "contraflow config experiment=quickstart optimizer.lr=4e-4",
        "contraflow config --config-dir my_configs experiment=mine",
    ),
    run=run,
    overrides=(
        "experiment=NAME, group=CHOICE or group.key=VALUE; "
        "`contraflow train --help` lists the groups"
    ),
)
