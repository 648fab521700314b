"""The loss of the design that contraflow replaces, to see what it learns and what it cannot.

Nothing of this is in the package. The plans `studies/fit/plans/journey_*.json` train with it and
with our losses, everything else equal:

    python -m studies.fit run --plan studies/fit/plans/journey_loss.json --workers 8 --out OUT
"""
