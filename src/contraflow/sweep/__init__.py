"""Many runs over varied settings: which values, one run after another, and a table and a picture of
what came out.
"""
