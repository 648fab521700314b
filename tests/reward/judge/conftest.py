"""Folders with tiny random models, as fixtures."""

from pathlib import Path

import pytest

from support.judges import NLI_NAMES, save_backbone, save_random_judge


@pytest.fixture
def nli_folder(tmp_path: Path) -> Path:
    """A random BERT with its own label order."""
    return save_random_judge(tmp_path / "nli", NLI_NAMES)


@pytest.fixture
def backbone_folder(tmp_path: Path) -> Path:
    """A random BERT without a head."""
    return save_backbone(tmp_path / "backbone")
