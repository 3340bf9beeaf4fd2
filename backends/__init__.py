"""Graph and tile IR to something that runs: one subpackage for each target."""
