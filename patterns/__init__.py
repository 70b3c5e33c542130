"""Ready patterns from different fields, each a function that returns a Pattern: use them, or read them as examples.

They are written in fyke's public names only, so copying one into your own code and changing it is always an option.
"""
