"""How the shipped judge was made: synthetic facts, real facts and SNLI-style pairs, one training
loop.

`python -m contraflow.judge_training --help` builds the pairs, trains, measures and writes the asset folder.
"""
