"""What a question is worth: the oracle answers, the judge compares, the schedule turns parts into
log R.
"""
