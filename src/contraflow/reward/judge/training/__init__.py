"""Training of the packaged judge: synthetic facts, real facts and SNLI-style pairs, one loop.

`python -m contraflow.judge_training` builds the pairs, trains, measures and writes the judge
folder; `--help` lists the options.
"""
