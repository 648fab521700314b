"""Trains and measures many settings of the packaged model, several at a time.

    python -m studies.fit run --plan studies/fit/plans/explore.json --workers 12 \\
        --device cuda --minutes 9 --out fit/explore
    python -m studies.fit table --out fit/explore     # anew from the run folders, at any time

Started again, `run` goes on with what is missing; runs that were cut resume from their checkpoint.
`results.json` gains a row when a run ends. `table` writes `table.md` and `frontier.svg` from it.
"""
