"""Three short knowledge editors, written from their formulas, that give the audit real edits.

    python -m examples.edits fine_tune n=12 out=edits/fine_tune
    python -m examples.edits lora n=12 out=edits/lora
    python -m examples.edits rank_one n=12 out=edits/rank_one each=true
    python -m examples.edits planted n=6 plain=6 out=edits/planted

They edit the packaged SmolLM2, and need nothing but contraflow's own dependencies. They are for
demonstration: to edit a model in earnest, use a library made for it.
"""
