"""An HTML document as a tree, for tests of pages."""

from __future__ import annotations

import html.parser
from pathlib import Path


class Node:
    """An element with its attributes, its children, and all text inside."""

    def __init__(self, name: str, attributes: dict[str, str | None], parent: Node | None) -> None:
        self.name, self.attributes, self.parent = name, attributes, parent
        self.children: list[Node] = []
        self.pieces: list[str | Node] = []

    @property
    def text(self) -> str:
        return " ".join(self._whole.split())

    @property
    def _whole(self) -> str:
        return "".join(p if isinstance(p, str) else p._whole for p in self.pieces)

    def find(self, name: str = "", **wanted: str) -> list[Node]:
        found = []
        for child in self.children:
            if (not name or child.name == name) and all(
                value in (child.attributes.get(key.rstrip("_").replace("_", "-")) or "").split()
                for key, value in wanted.items()
            ):
                found.append(child)
            found += child.find(name, **wanted)
        return found


class Tree(html.parser.HTMLParser):
    """The document as a tree. `convert_charrefs` is on, so texts are unescaped."""

    def __init__(self) -> None:
        super().__init__()
        self.root = self.here = Node("", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs), self.here)
        self.here.children.append(node)
        self.here.pieces.append(node)
        if tag not in ("meta", "link", "input", "br"):
            self.here = node

    def handle_endtag(self, tag: str) -> None:
        assert self.here.name == tag, f"</{tag}> ends <{self.here.name}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.pieces.append(data)


def tree_of(path: Path) -> Node:
    tree = Tree()
    tree.feed(path.read_text(encoding="utf-8"))
    assert tree.here is tree.root, f"<{tree.here.name}> is not closed"
    return tree.root
