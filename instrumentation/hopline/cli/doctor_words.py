"""What ``hopline doctor`` says in more than one place; it imports nothing, for imports may be what fails."""

NOTHING = "nothing is instrumented and nothing exported"
