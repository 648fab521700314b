"""Does it sample in proportion to the reward? On spaces that can be enumerated the answer is a
number.
"""
