"""A pass, an operator and a target for aicc, each in one file."""
