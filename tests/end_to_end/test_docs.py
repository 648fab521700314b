"""The README is short, and the pages name only what exists: links, paths, commands, keys, tests."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from contraflow.cli.commands import COMMANDS
from contraflow.evaluation.definitions import DEFINITIONS
from contraflow.settings.keys import choices_of, config_keys, group_names

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "contraflow"
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *DOCS, ROOT / "CHANGELOG.md", ROOT / "data_sources" / "README.md"]
HOUSE_PAGE = ROOT / "docs" / "architecture.md"
# Code that is not a floor of the import contract: data, and names from before the modules moved.
OUTSIDE_THE_HOUSE = {"assets", "configs", "judge", "judge_training"}
TOP_FOLDERS = "src|tests|benchmarks|studies|recipes|docs|data_sources"

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_in(text: str) -> list[str]:
    """Fenced blocks, lines that are indented by four, and spans between backticks."""
    fenced = re.findall(r"```\w*\n(.*?)```", text, re.S)
    rest = re.sub(r"```\w*\n.*?```", "", text, flags=re.S)
    indented = re.findall(r"^ {4}(\S.*)$", rest, re.M)
    return [*fenced, *indented, *re.findall(r"`([^`]+)`", rest)]


def anchors_of(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short() -> None:
    lines = text_of(README).splitlines()
    assert len(lines) <= 100
    assert [line for line in lines if len(line) > 100] == []


@every_page
def test_links_and_images_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    missing = []
    for target in targets:
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors_of(linked)):
            missing.append(target)
    assert missing == []


@every_page
def test_named_paths_exist(page: Path) -> None:
    """Paths from the root, and `.py` files from the root or from the package."""
    text = text_of(page)
    from_root = re.findall(rf"(?<![\w./-])(?:{TOP_FOLDERS})/[\w./-]*\w", text)
    files = re.findall(r"`([\w./]+\.py)`", text)
    # A file name alone is in the folder of its page.
    homes = (ROOT, PACKAGE, page.parent)
    found = {name: any((home / name).exists() for home in homes) for name in files}
    missing = [path for path in from_root if not (ROOT / path).exists()]
    missing += [name for name, exists in found.items() if not exists]
    assert missing == []


@every_page
def test_named_modules_can_be_run(page: Path) -> None:
    missing = []
    for name in re.findall(r"python -m ((?:benchmarks|studies)[\w.]*\w)", text_of(page)):
        path = ROOT / name.replace(".", "/")
        if not path.with_suffix(".py").is_file() and not (path / "__main__.py").is_file():
            missing.append(name)
    assert missing == []


@every_page
def test_named_tests_exist(page: Path) -> None:
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", text_of(file))
    }
    named = re.findall(r"`(test_\w+)`", text_of(page))
    assert [name for name in named if name not in defined] == []


@every_page
def test_named_commands_exist(page: Path) -> None:
    known = {command.name for command in COMMANDS}
    families = {name.split()[0] for name in known if " " in name}
    wrong = []
    for code in code_in(text_of(page)):
        for words in re.findall(
            r"^contraflow\s+([a-z][a-z-]*)(?:\s+([a-z][a-z-]*)(?!\w*=))?", code, re.M
        ):
            first, second = words
            # The changelog writes `contraflow replay seed|stats`; there the family is enough.
            name = f"{first} {second}" if first in families and second else first
            if name not in known | families:
                wrong.append(name)
    assert wrong == []


@every_page
def test_named_settings_exist(page: Path) -> None:
    """`group.key` and `group.key=value`, and `group=choice` of the packaged groups."""
    keys = set(config_keys())
    sections = {key.split(".")[0] for key in keys if "." in key}
    groups = {*sections, "experiment"} & {*group_names()}
    not_settings = {"policy.evaluate"}  # a method
    wrong = []
    for line in "\n".join(code_in(text_of(page))).splitlines():
        for name in re.findall(r"(?<![\w./])([a-z_]+(?:\.[a-z_]+)+)(?=$|[=\s;,])", line):
            section, _, rest = name.partition(".")
            is_file = rest in {"md", "py", "json", "jsonl", "yaml"}
            if section in sections and not is_file and name not in keys | not_settings:
                wrong.append(name)
        if line.startswith("contraflow exact"):  # its `reward=` is a table, not the config group
            continue
        for group, choice in re.findall(r"(?<![\w.])([a-z]+)=([a-z]\w*)", line):
            if group in groups and choice not in choices_of(group):
                wrong.append(f"{group}={choice}")
    assert wrong == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_a_page_begins_with_its_reader_and_a_command(page: Path) -> None:
    beginning = "\n".join(text_of(page).splitlines()[:5])
    assert beginning.startswith("# ")
    assert "**For** " in beginning and "**Try** `" in beginning


def test_the_guide_lists_every_page_once() -> None:
    listed = re.findall(r"^\| \[\w+\]\((\w+\.md)\)", text_of(ROOT / "docs" / "README.md"), re.M)
    assert sorted(listed) == [page.name for page in DOCS if page.name != "README.md"]


def test_the_table_of_metrics_is_that_of_the_evaluation() -> None:
    best = {"higher": "higher", "lower": "lower", "zero": "0", "one": "1", "neutral": ""}
    rows = [
        f"| {d.label} | `{d.name}` | {d.unit} | {best[d.better]} | {d.meaning} |"
        for d in DEFINITIONS
    ]
    table = [
        line
        for line in text_of(ROOT / "docs" / "metrics.md").splitlines()
        if line.startswith("| ") and not line.startswith("| Metric |")
    ]
    assert table == rows


def floors_of_the_picture() -> list[list[str]]:
    """The rooms of each floor, from the top: the lines of the drawing that begin with a wall."""
    rows = re.findall(r"^│(.*)│$", text_of(HOUSE_PAGE), re.M)
    return [[room.strip() for room in row.split("│")] for row in rows]


def rooms_of_the_table() -> list[str]:
    """The names in the first column of the table of rooms, without `/` and `.py`."""
    table = text_of(HOUSE_PAGE).split("| room |")[1].split("\n\n")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = re.findall(r"`([\w./]+)`", " ".join(first_cells))
    return [name.removesuffix("/").removesuffix(".py") for name in names]


def layers_of(folder: str) -> list[list[str]]:
    """The floors of a folder by its import contract, the highest first; "" is the package."""
    contracts = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    inside = [f"contraflow.{folder}"] if folder else None
    (layers,) = [
        contract["layers"]
        for contract in contracts
        if contract["type"] == "layers" and contract.get("containers") == inside
    ]
    return [
        [name.strip().removeprefix("contraflow.") for name in layer.split("|")] for layer in layers
    ]


def test_the_house_has_the_floors_of_the_import_contract() -> None:
    assert floors_of_the_picture() == layers_of("")


@pytest.mark.parametrize("room", ["models", "auditing"])
def test_the_parts_of_a_large_room_stand_in_the_order_of_its_contract(room: str) -> None:
    """Folders only, the highest first; every part has one line in the room's table."""
    table = text_of(HOUSE_PAGE).split(f"| part of `{room}/` |")[1].split("\n\n")[0]
    parts = re.findall(r"^\| `(\w+)/` \|", table, flags=re.MULTILINE)
    folders = {file.parent.name for file in (PACKAGE / room).glob("*/__init__.py")}
    on_floors = [name for layer in layers_of(room) for name in layer if name in folders]
    assert parts == on_floors
    assert sorted(parts) == sorted(folders)


def test_the_house_is_the_package() -> None:
    """Every folder and module has one line in the table, and no line is about another one."""
    folders = {
        folder.name
        for folder in PACKAGE.iterdir()
        if any(file.is_file() and "__pycache__" not in file.parts for file in folder.rglob("*"))
    }
    modules = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}
    rooms = rooms_of_the_table()
    assert sorted(rooms) == sorted(folders | modules)
    on_a_floor = [room for floor in floors_of_the_picture() for room in floor]
    assert sorted(on_a_floor) == sorted({*rooms} - OUTSIDE_THE_HOUSE)


def test_the_recipes_for_adding_name_existing_code() -> None:
    recipes = text_of(HOUSE_PAGE).split("## Adding …")[1]
    rows = [line for line in recipes.splitlines() if line.startswith(("| a ", "| an "))]
    assert len(rows) == 7
    for row in rows:
        named = re.findall(r"`([^`]+)`", row)
        paths = [ROOT / name for name in named if "/" in name]
        files = [path for path in paths if path.is_file()]
        files += [file for path in paths if path.is_dir() for file in path.glob("*.py")]
        code = "\n".join(map(text_of, files))
        missing = [name for name in named if "/" not in name and not re.search(name, code)]
        assert missing == [], row


def test_former_names_keep_working() -> None:
    import contraflow.judge as former
    import contraflow.judge_training.__main__ as former_training
    from contraflow.reward import judge
    from contraflow.reward.judge.training import __main__ as training

    assert former.EmbeddedJudge is judge.PackagedJudge
    assert former.shipped_judge_folder is judge.packaged_judge_folder
    assert former_training.main is training.main
