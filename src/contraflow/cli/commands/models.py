"""`contraflow models`: the embedded models, and fetching others ahead of time."""

from __future__ import annotations

from pathlib import Path

from contraflow.cli.command import Command, Given
from contraflow.cli.early import is_packaged, models_of
from contraflow.cli.quiet import show_download_bars


def run_list(_given: Given) -> int:
    """One paragraph a packaged model."""
    from contraflow.models.packaged import PACKAGES, cache_dir, is_prepared

    for name, package in PACKAGES.items():
        folder = cache_dir() / name
        state = f"ready, {_megabytes(folder)} MB" if is_prepared(name) else "not prepared yet"
        print(f"{name}: {state}")
        print(f"    {package.what}")
        print(
            f"    license {package.license}; from the Python package {package.requirement}; folder {folder}"
        )
    return 0


def _megabytes(folder: Path) -> int:
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6)


def run_download(given: Given) -> int:
    """Find or fetch each model of a config, and say where it is."""
    from contraflow.settings.compose import compose_config

    names = models_of(compose_config(given.overrides, given.config_dir))
    show_download_bars()
    from contraflow.models.packaged import packaged_folder
    from contraflow.models.resolve import resolve_model

    # First those of the hub: without a network they fail at once, the packaged ones take their
    # time.
    for kind, name in sorted(names.items(), key=lambda item: is_packaged(item[1])):
        if kind == "judge" and is_packaged(name):
            continue  # its backbone is the encoder below, its adapter is in the package
        print(f"{kind}: {name} is in {resolve_model(name, kind)}", flush=True)
    judge = " and judge" if is_packaged(names["judge"]) else ""
    print(
        f"diversity encoder{judge}: packaged:all-minilm-l6-v2 is in {packaged_folder('all-minilm-l6-v2')}"
    )
    return 0


COMMANDS = (
    Command(
        name="models list",
        summary="the embedded models: whether they are ready, where, how big, license",
        about="""
        Lists the models that come inside Python packages and need no model hub. They are prepared on
        first use, or by `contraflow models download`, in $CONTRAFLOW_CACHE (default: contraflow in the
        user's cache folder).
        """,
        examples=("contraflow models list",),
        run=run_list,
    ),
    Command(
        name="models download",
        summary="fetch and prepare the models of a config ahead of time",
        about="""
        Prepares the packaged models that a config uses and fetches those of the hub into its cache, so
        that training needs no network. Without a network the embedded default (model=smollm2
        judge=minilm) is the one that works.
        """,
        examples=(
            "contraflow models download",
            "contraflow models download model=gpt2_large judge=deberta_v3_large_mnli",
        ),
        run=run_download,
        overrides="model=…, oracle=…, judge=… or an experiment; default: the embedded models",
    ),
)
