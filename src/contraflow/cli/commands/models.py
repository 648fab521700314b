"""`contraflow models`: list the packaged models, and fetch models ahead of time."""

from __future__ import annotations

from pathlib import Path

from contraflow.cli.command import Command, ParsedArguments
from contraflow.cli.preflight import is_packaged, model_names
from contraflow.cli.verbosity import show_download_bars

_ENCODER = "all-minilm-l6-v2"


def run_list(_args: ParsedArguments) -> int:
    """Print one paragraph per packaged model."""
    from contraflow.models.weights.packaged import PACKAGES, cache_dir, is_prepared

    for name, package in PACKAGES.items():
        folder = cache_dir() / name
        state = f"ready, {_megabytes(folder)} MB" if is_prepared(name) else "not prepared yet"
        print(f"{name}: {state}")
        print(f"    {package.description}")
        print(
            f"    license {package.license}; from the Python package {package.requirement}; "
            f"folder {folder}"
        )
    return 0


def _megabytes(folder: Path) -> int:
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6)


def run_download(args: ParsedArguments) -> int:
    """Find or fetch each model of a config and print its folder."""
    from contraflow.settings.compose import compose_config

    names = model_names(compose_config(args.overrides, args.config_dir))
    show_download_bars()
    from contraflow.models.weights.packaged import packaged_folder
    from contraflow.models.weights.resolve import resolve_model

    # Models of the hub first: without a network they fail at once, and preparing packaged models
    # takes time.
    for kind, name in sorted(names.items(), key=lambda item: is_packaged(item[1])):
        if kind == "judge" and is_packaged(name):
            continue  # its backbone is the encoder below, its adapter is in the package
        print(f"{kind}: {name} is in {resolve_model(name, kind)}", flush=True)
    judge = " and judge" if is_packaged(names["judge"]) else ""
    print(f"diversity encoder{judge}: packaged:{_ENCODER} is in {packaged_folder(_ENCODER)}")
    return 0


COMMANDS = (
    Command(
        name="models list",
        summary="the packaged models: state, size, license, folder",
        description="""
        Lists the models that come inside Python packages and need no model hub. They are prepared
        on first use, or by `contraflow models download`, in $CONTRAFLOW_CACHE (default: contraflow
        in the user's cache folder).
        """,
        examples=("contraflow models list",),
        run=run_list,
    ),
    Command(
        name="models download",
        summary="fetch and prepare the models of a config ahead of time",
        description="""
        Prepares the packaged models of a config and fetches its other models from the hub into the
        hub's cache, so that training needs no network. Without a network only the packaged default
        works (model=smollm2 judge=minilm).
        """,
        examples=(
            "contraflow models download",
            "contraflow models download model=gpt2_large judge=deberta_v3_large_mnli",
        ),
        run=run_download,
        overrides="model=…, oracle=…, judge=… or an experiment; default: the packaged models",
    ),
)
