"""Folders with tiny random models, as fixtures."""

from pathlib import Path

import pytest
import torch
from transformers import BertModel

from support.packaged_judge import NLI_NAMES, save_classifier, save_tokenizer, tiny_config


@pytest.fixture
def nli_folder(tmp_path: Path) -> Path:
    return save_classifier(tmp_path / "nli", NLI_NAMES)


@pytest.fixture
def backbone_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "backbone"
    save_tokenizer(folder)
    torch.manual_seed(1)
    BertModel(tiny_config({0: "x", 1: "y"})).save_pretrained(folder)
    return folder
