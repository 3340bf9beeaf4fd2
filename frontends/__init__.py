"""Models to graph IR: one subpackage for each kind of source."""
