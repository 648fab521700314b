"""`contraflow config`: what some overrides come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contraflow.cli.command import Command, Given

if TYPE_CHECKING:
    from contraflow.settings import Config


def run(given: Given) -> int:
    """Compose and print."""
    from contraflow.settings.compose import compose_config

    print(as_yaml(compose_config(given.overrides, given.config_dir)), end="")
    return 0


def as_yaml(config: Config) -> str:
    """The settings as YAML with prompts as readable blocks, and without the password of a replay
    server.
    """
    import yaml  # type: ignore[import-untyped]

    from contraflow.settings import shown_settings

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return str(
        yaml.dump(shown_settings(config), Dumper=Dumper, sort_keys=False, allow_unicode=True)
    )


COMMAND = Command(
    name="config",
    summary="print the settings that some overrides come to",
    about="""
    Takes what `contraflow train` takes and prints every key with its value, after all checks; nothing is
    loaded and nothing is written. The passwords of URLs are left out.
    """,
    examples=(
        "contraflow config experiment=quickstart objective.lam=0.9",
        "contraflow config --config-dir my_configs experiment=mine",
    ),
    run=run,
    overrides="experiment=NAME, group=CHOICE or group.key=VALUE; `contraflow train --help` lists the groups",
)
