"""Each package that records changes, as its documentation sets it up; run in an environment of its own."""
