"""The arguments of an audit: values that are refused, and words that Python may give otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contraflow.errors import UserError
from contraflow.facts.edits import Edit
from contraflow.settings.keys import suggestion

STYLES = ("few_shot", "bare", "chat")
# In Python, by the words of the command line too.
SETTINGS = ("n", "styles", "ask", "seed", "adapt_steps", "questions", "neighbors", "prefix")
_OTHERS = ("names",)
NO_ADAPTER = "adapt_steps: run=untrained has no adapter to train; give run=shipped or a run folder"
_LEAST = {"n": 2, "seed": 0, "adapt_steps": 0}


def as_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `contraflow.audit` as fields of an `AuditRequest`.

    `ask` is another name of `styles`; one text stands for the words between its commas.

    Raises: UserError for a name that is unknown, or two names of one setting.
    """
    known = (*SETTINGS, *_OTHERS)
    for name in given:
        if name == "fail_over":
            raise UserError(
                "audit: fail_over= is the command's, whose exit code it sets; compare "
                "report.result.models[0].edit_failure.low with it"
            )
        if name not in known:
            raise UserError(
                f"audit: {name}= is unknown; there is {', '.join(known)}{suggestion(name, known)}"
            )
    settings = dict(given)
    if "ask" in settings:
        if "styles" in settings:
            raise UserError("audit: ask= and styles= are the same; give one of them")
        settings["styles"] = settings.pop("ask")
    for name in ("styles", "names"):
        if name in settings:
            settings[name] = _words(name, settings[name])
    if not isinstance(settings.get("prefix", ""), str):
        raise UserError(f"audit: prefix={settings['prefix']!r}: must be a text")
    for name in ("questions", "neighbors"):
        if not isinstance(settings.get(name, ""), str | Path | None):
            raise UserError(f"audit: {name}={settings[name]!r}: must be a file")
    if settings.get("questions") is not None:
        check_n_counts(given)
        settings["questions"] = Path(settings["questions"]).expanduser()
    if "neighbors" in settings:
        settings["neighbors"] = str(settings["neighbors"] or "none")
    return settings


def check_n_counts(given: Mapping[str, Any]) -> None:
    """Raises: UserError where a number of draws is given beside a person's own questions."""
    if given.get("n") is not None and given.get("questions") is not None:
        raise UserError(
            f"n={given['n']}: is how many questions are drawn, and those of "
            f"questions={given['questions']} are asked instead; give one of the two"
        )


def _words(name: str, given: object) -> tuple[str, ...]:
    """Several words, or one text with commas, as on the command line."""
    if isinstance(given, str):
        return tuple(word.strip() for word in given.split(",") if word.strip())
    if not isinstance(given, Sequence) or not all(isinstance(word, str) for word in given):
        raise UserError(f"audit: {name}={given!r}: must be a list of texts")
    return tuple(given)


def as_sources(edited: object) -> tuple[str, ...]:
    """The names of edited models. Raises: UserError where there is none, or one is no name."""
    if isinstance(edited, str | Path):
        return (str(edited),)
    if not isinstance(edited, Sequence) or not all(isinstance(s, str | Path) for s in edited):
        raise UserError(
            f"audit: edited={type(edited).__name__}: must be a module, the name of a model, or a "
            "list of names"
        )
    if not edited:
        raise UserError("audit: edited=[]: names no model; give at least one")
    return tuple(map(str, edited))


def as_folder(out: object) -> Path:
    """The folder of an audit. Raises: UserError where it is no path."""
    if not isinstance(out, str | Path) or not str(out).strip():
        raise UserError(f"audit: out={out!r}: must be the path of a folder")
    return Path(out).expanduser()


def as_run(run: object) -> str:
    """The name of a sampler. Raises: UserError for what is no name, such as an opened run."""
    if not isinstance(run, str | Path):
        raise UserError(
            f"audit: run={type(run).__name__}: must be the folder of a run, shipped or untrained"
        )
    return str(run)


def as_edits(edits: str | Path | Iterable[Edit]) -> Path | tuple[Edit, ...]:
    """A file of edits, or edits. Raises: UserError where there are none, or one is no edit."""
    if isinstance(edits, str | Path):
        return Path(edits).expanduser()
    if not isinstance(edits, Iterable):
        raise UserError(f"audit: edits={edits!r}: must be a file of edits, or a list of them")
    given = tuple(edits)
    if not given:
        raise UserError("audit: there are no edits; give a file or a list of them with edits=")
    for number, edit in enumerate(given):
        if not isinstance(edit, Edit):
            raise UserError(
                f"audit: edits[{number}] is a {type(edit).__name__}; make each an "
                "Edit(fact=Fact(…)) of contraflow.facts.edits, or give a file of them"
            )
    return given


def check_numbers(numbers: Mapping[str, object]) -> None:
    """Check n, seed and adapt_steps. Raises: UserError naming the one that is wrong."""
    for name, least in _LEAST.items():
        number = numbers[name]
        if isinstance(number, bool) or not isinstance(number, int):
            raise UserError(f"{name}={number!r}: must be a whole number")
        if number < least:
            raise UserError(f"{name}={number}: must be at least {least}")


def check_share(name: str, share: object) -> None:
    """Raises: UserError for what is neither None nor a number from 0 to 1."""
    if share is None:
        return
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
        raise UserError(f"{name}={share!r}: must be a share from 0 to 1")


def check_styles(styles: Sequence[str]) -> None:
    """Raises: UserError for a style of asking that is unknown or there twice, or for none."""
    if not styles:
        raise UserError(f"ask=: names no style; give one or more of {', '.join(STYLES)}")
    for style in styles:
        if style not in STYLES:
            raise UserError(
                f"ask={style}: must be among {', '.join(STYLES)}{suggestion(style, STYLES)}"
            )
    if len(set(styles)) != len(styles):
        raise UserError(f"ask={','.join(styles)}: names a style twice; keep one of them")


def check_names(names: Sequence[str], n_models: int) -> None:
    """Check the names of edited models in the report; the rows of an audit go by them.

    Raises: UserError.
    """
    if not names:
        return
    if not all(name.strip() for name in names):
        raise UserError(f"names={','.join(names)}: has an empty name; give each model its own")
    if len(names) != n_models:
        raise UserError(
            f"names={','.join(names)}: gives {len(names)} for {n_models} edited models; give one "
            "name for each"
        )
    if len(set(names)) != len(names):
        raise UserError(f"names={','.join(names)}: gives two models one name; give each its own")
